"""What people do with PyTorch models works with masks on them."""

import copy
import shutil

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(13)


class Block(nn.Module):
    """A small GPT block with tied reading and writing weights."""

    def __init__(self, words=16, width=8):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 16), nn.Linear(16, width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words):
        x = self.embed(words)
        ahead = nn.Transformer.generate_square_subsequent_mask(words.shape[-1], dtype=x.dtype)
        y = self.norm(x)
        x = x + self.attention(y, y, y, attn_mask=ahead, need_weights=False)[0]
        return self.head(x + self.down(functional.gelu(self.up(self.norm(x)))))


WORDS = torch.arange(24).reshape(3, 8) % 16


def loss_of(model, words=WORDS):
    return functional.cross_entropy(model(words[:, :-1]).flatten(0, 1), words[:, 1:].flatten())


def masks_of(model):
    return {name: buffer for name, buffer in model.named_buffers() if name.endswith("mask")}


def by_hand(model):
    """The same model with the masked weights as plain parameters."""
    twin = copy.deepcopy(model)
    nmflow.torch.bake(twin)
    return twin


def steps(model, handle, count=3, optimizer=None):
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(count):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        handle.step()
    return float(loss_of(model).detach())


def test_a_transformer_learns_under_its_masks():
    model = Block()
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=2)
    assert [line.name for line in handle.report.sparsified] == [
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "up.weight",
        "down.weight",
    ]
    before = loss_of(model)
    assert torch.equal(by_hand(model)(WORDS), model(WORDS))
    assert steps(model, handle, 30) < before / 2
    handle.refresh()
    assert all(certificate.gap == 0 for certificate in handle.certify().values())
    assert torch.equal(by_hand(model)(WORDS), model(WORDS))


def test_optimizers_made_before_stay_valid():
    model = Block()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    parameters = list(model.parameters())
    nmflow.torch.sparsify(model, 2, 4)
    assert {id(p) for p in model.parameters()} == {id(p) for p in parameters}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    loss_of(model).backward()
    optimizer.step()
    assert not any(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_state_dict_round_trip():
    model, other = Block(), Block()
    for each in (model, other):
        nmflow.torch.sparsify(each, 2, 4)
    assert not torch.equal(model(WORDS), other(WORDS))
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(model(WORDS), other(WORDS))


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    model, other = Block(), Block()
    for each in (model, other):
        nmflow.torch.sparsify(each, 2, 4)
    safetensors.save_model(model, tmp_path / "model.safetensors")
    assert safetensors.load_model(other, tmp_path / "model.safetensors") == (set(), [])
    assert torch.equal(model(WORDS), other(WORDS))
    assert all(mask.dtype is torch.bool for mask in masks_of(other).values())
    handle = nmflow.torch.sparsify(by_hand(model), 2, 4)
    handle.bake()


def test_deep_copies():
    model = Block()
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=1, include=nn.Linear)
    twin = copy.deepcopy(model)
    expected = model(WORDS)
    steps(model, handle)
    assert torch.equal(twin(WORDS), expected)
    assert twin.head.parametrizations.weight[0] is twin.embed.parametrizations.weight[0]


# PyTorch's compiler uses what PyTorch deprecates.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_models_follow_refreshes(backend):
    if backend == "inductor" and not shutil.which("c++"):
        pytest.skip("inductor needs a C++ compiler")
    torch.compiler.reset()
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend(backend)(graph, inputs)

    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))
    plain = copy.deepcopy(model)
    compiled = torch.compile(model, backend=compiler, fullgraph=True)
    x = torch.randn(4, 8)
    for inner, outer in ((model, compiled), (plain, plain)):
        handle = nmflow.torch.sparsify(inner, 2, 4, refresh=1, rule="sr-ste")
        optimizer = torch.optim.SGD(inner.parameters(), lr=0.05)
        for step in range(5):
            if step == 3:
                assert sum(each.sad for each in handle.history[1:]) > 0
                assert len(graphs) == (1 if outer is compiled else 2), "masks change in place"
                handle.freeze()
            optimizer.zero_grad()
            (outer(x) - 1).square().sum().backward()
            optimizer.step()
            handle.step()
    assert len(graphs) == 2, "frozen masks have another gradient"
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compiled(x), plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_optimizer_step_decays_too():
    torch.compiler.reset()
    layer = nn.Linear(8, 8)
    nmflow.torch.sparsify(layer, 2, 4, rule=nmflow.torch.SRSTE(decay=0.5))
    parametrized = layer.parametrizations.weight
    before = parametrized.original.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    (layer(torch.randn(2, 8)).sum() * 0).backward()
    torch.compile(optimizer.step, backend="aot_eager")()
    expected = before - 0.5 * before * ~parametrized[0].mask
    torch.testing.assert_close(parametrized.original.detach(), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    model = Block()
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=1, rule="sr-ste")
    with torch.autocast("cpu", dtype):
        assert torch.equal(by_hand(model)(WORDS), model(WORDS))
        before = float(loss_of(model).detach())
        assert steps(model, handle, 20) < before
    assert all(p.dtype is torch.float32 for p in model.parameters())


def test_a_model_in_bfloat16():
    model = Block()
    handle = nmflow.torch.sparsify(model, 2, 4, refresh=1, mean_absorption=True)
    model.to(torch.bfloat16)
    assert all(mask.dtype is torch.bool for mask in masks_of(model).values())
    assert model(WORDS).dtype is torch.bfloat16
    before = loss_of(model)
    assert steps(model, handle, 20) < before
    assert all(certificate.gap == 0 for certificate in handle.certify().values())


def test_gradient_accumulation():
    """Two halves of a batch make the step of the whole."""
    model = Block()
    twin = copy.deepcopy(model)
    for each, parts in ((model, [WORDS[:2], WORDS[2:]]), (twin, [WORDS])):
        handle = nmflow.torch.sparsify(each, 2, 4, refresh=1, rule=nmflow.torch.SRSTE(0.1))
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1)
        for part in parts:
            (loss_of(each, part) * len(part) / len(WORDS)).backward()
        optimizer.step()
        handle.step()
    torch.testing.assert_close(model.state_dict(), twin.state_dict())


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(reentrant):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
    nmflow.torch.sparsify(model, 2, 4)
    x = torch.randn(4, 8, requires_grad=True)
    model(x).square().sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    checkpoint(model, x, use_reentrant=reentrant).square().sum().backward()
    assert all(torch.equal(p.grad, e) for p, e in zip(model.parameters(), expected, strict=True))


def test_fast_paths_of_inference_see_the_masks():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    encoder = nn.TransformerEncoder(layer, 2)
    nmflow.torch.sparsify(encoder, 2, 4)
    x = torch.randn(2, 5, 8)
    slow = encoder(x)
    with torch.inference_mode():
        fast, baked = encoder(x), by_hand(encoder)(x)
    torch.testing.assert_close(fast, slow.detach())
    torch.testing.assert_close(baked, fast)


def test_function_transforms():
    layer = nn.Linear(8, 8, bias=False)
    nmflow.torch.sparsify(layer, 2, 4)
    state = dict(layer.named_parameters())
    buffers = dict(layer.named_buffers())
    x = torch.randn(3, 8)

    def loss(state, sample):
        return torch.func.functional_call(layer, (state, buffers), sample).sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(state, x)
    (gradients,) = each.values()
    torch.testing.assert_close(gradients, x[:, None].expand(3, 8, 8))


def test_the_meta_device():
    with torch.device("meta"):
        model = Block()
    handle = nmflow.torch.sparsify(model, 2, 4)
    assert handle.history == []
    assert not handle.report.sparsified
    with pytest.raises(nmflow.NmflowError, match="all weights are on the meta device"):
        handle.refresh()
    model.to_empty(device="cpu")
    source = Block()
    nmflow.torch.sparsify(source, 2, 4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(source.get_parameter(name))
    assert handle.refresh().n == 2
    assert torch.equal(model(WORDS), source(WORDS))
    model.to("meta")
    assert all(mask.is_meta and mask.dtype is torch.bool for mask in masks_of(model).values())
