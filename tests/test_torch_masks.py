"""nmflow.torch puts masks where they belong, says where not, and takes them off again."""

import copy
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch.selecting.layout import layouts_of  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(7)


class Tied(nn.Module):
    """A bag of words with one weight for reading and writing."""

    def __init__(self, words=16, width=8):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words):
        return self.head(self.embed(words).mean(-2))


def mlp():
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8), nn.Linear(8, 2))


def masked_of(model, name="weight"):
    """The parametrization of a module's weight."""
    return model.parametrizations[name][0]


def snapshot(model):
    return {name: (p, p.detach().clone()) for name, p in model.named_parameters()}


def as_it_was(model, before):
    """No masks, and the same parameters with the same values in the same order."""
    after = dict(model.named_parameters())
    return (
        list(after) == list(before)
        and all(after[name] is parameter for name, (parameter, _) in before.items())
        and all(
            torch.allclose(after[name], values, rtol=0, atol=0, equal_nan=True)
            for name, (_, values) in before.items()
        )
        and not any(type(module).__name__.startswith("Param") for module in model.modules())
    )


@pytest.mark.parametrize(
    ("module", "name", "axes", "groups"),
    [
        (nn.Linear(12, 10), "weight", (0, 1), 1),
        (nn.Conv1d(8, 12, 3), "weight", (0, 1), 1),
        (nn.Conv2d(16, 12, (3, 2), groups=2), "weight", (0, 1), 2),
        (nn.Conv3d(4, 8, 2), "weight", (0, 1), 1),
        (nn.MultiheadAttention(6, 2), "in_proj_weight", (0, 1), 3),
        (nn.MultiheadAttention(8, 2, kdim=5), "k_proj_weight", (0, 1), 1),
    ],
)
def test_masks_are_those_of_solve(module, name, axes, groups):
    """Each group's weights on their own, out x in at each kernel position."""
    handle = nmflow.torch.sparsify(module, 2, 4)
    dense = module.parametrizations[name].original.detach()
    expected = torch.cat([nmflow.solve(part, 2, 4, axes=axes) for part in dense.chunk(groups)])
    mask = masked_of(module, name).mask
    assert mask.dtype is torch.bool
    assert torch.equal(mask, expected)
    assert torch.equal(getattr(module, name), dense * mask)
    assert handle.certify()[name].optimal


@pytest.mark.parametrize(
    ("pattern", "method", "score"),
    [
        ("rows", "flow", "square"),
        ("columns", "flow", "abs"),
        ("unstructured", "flow", "raw"),
        ("transposable", "greedy-keep", "abs"),
        ("transposable", nmflow.Flow(), "raw"),
    ],
)
def test_patterns_methods_and_scores(pattern, method, score):
    layer = nn.Linear(12, 9)
    options = {"pattern": pattern, "method": method, "score": score}
    handle = nmflow.torch.sparsify(layer, 2, 4, **options, kept_scores=True)
    dense = layer.parametrizations.weight.original.detach()
    expected = nmflow.solve(dense, 2, 4, method, pattern=pattern, score=score)
    assert torch.equal(masked_of(layer).mask, expected)
    (certificate,) = handle.certify().values()
    assert certificate.pattern.name == pattern
    statistics = handle.history[0].layers["weight"]
    assert statistics.kept_score == pytest.approx(certificate.value, rel=1e-5)
    assert statistics.sad == (~expected).sum()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    layer = nn.Linear(8, 8, dtype=dtype)
    nmflow.torch.sparsify(layer, 2, 4)
    assert layer.weight.dtype is dtype
    dense = layer.parametrizations.weight.original
    assert torch.equal(layer.weight != 0, nmflow.solve(dense, 2, 4))


def test_tied_weights_have_one_mask():
    model = Tied()
    before = snapshot(model)
    handle = nmflow.torch.sparsify(model, 2, 4, include="head")
    assert list(handle.history[0].layers) == ["head.weight"]
    assert "shared with embed.weight" in str(handle.report)
    assert model.embed.weight.eq(model.head.weight).all()
    assert model.embed.parametrizations.weight[0] is model.head.parametrizations.weight[0]
    assert len(list(model.parameters())) == 1
    handle.refresh()
    expected = model(torch.arange(8).reshape(2, 4))
    handle.bake()
    assert model.embed.weight is model.head.weight is before["embed.weight"][0]
    assert torch.equal(model(torch.arange(8).reshape(2, 4)), expected)
    assert (model.head.weight == 0).sum() == 64


def test_every_weight_has_its_line():
    model = nn.ModuleDict(
        {
            "good": nn.Linear(8, 8),
            "ragged": nn.Linear(10, 8),
            "small": nn.Linear(8, 2),
            "depthwise": nn.Conv1d(8, 8, 3, groups=8),
            "embed": nn.Embedding(8, 8),
            "recurrent": nn.GRU(8, 8),
            "up": nn.ConvTranspose1d(8, 8, 2),
            "attention": nn.MultiheadAttention(8, 2, add_bias_kv=True),
            "lazy": nn.LazyLinear(8),
            "normed": parametrizations.spectral_norm(nn.Linear(8, 8)),
            "weighed": parametrizations.weight_norm(nn.Linear(8, 8)),
            "complex": nn.Linear(8, 8, dtype=torch.complex64),
            "out": nn.Linear(8, 8),
            "norm": nn.LayerNorm(8),
        }
    )
    handle = nmflow.torch.sparsify(model, 2, 4, exclude="out")
    notes = {line.name: line.note for line in handle.report.skipped}
    foreign = "no matrix of a linear, convolution or attention layer ({})"
    assert notes == {
        "small.weight": "matrices of 2 x 8 are too small for m = 4",
        "depthwise.weight": "matrices of 1 x 1 are too small for m = 4",
        "embed.weight": "embedding (dense unless included)",
        "recurrent.weight_ih_l0": "recurrent",
        "recurrent.weight_hh_l0": "recurrent",
        "up.weight": foreign.format("ConvTranspose1d"),
        "attention.bias_k": "bias",
        "attention.bias_v": "bias",
        "lazy.weight": "has no shape yet: run a forward pass first",
        "normed.weight": "has a parametrization of its own, _SpectralNorm",
        "weighed.weight": "has a parametrization of its own, _WeightNorm",
        "complex.weight": "of dtype torch.complex64: float16, bfloat16, float32 and float64 can be"
        " masked",
        "out.weight": "excluded",
    }
    done = {line.name: line.note for line in handle.report.sparsified}
    assert done == {
        "good.weight": "",
        "attention.in_proj_weight": "",
        "attention.out_proj.weight": "",
        "ragged.weight": "groups at the edges of 8 x 10 keep at most 2",
    }
    text = str(handle.report)
    assert text.startswith("2:4 transposable: 4 sparsified, 13 SKIPPED\n")
    assert text.count("\n") == 18


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ("[02]", None, ["0.weight", "2.weight"]),
        (["0", "2"], "2", ["0.weight"]),
        (None, lambda name, module: module.out_features == 16, ["2.weight"]),
        (lambda name, module: name == "2", (), ["2.weight"]),
    ],
)
def test_include_and_exclude(include, exclude, expected):
    handle = nmflow.torch.sparsify(mlp(), 2, 4, include=include, exclude=exclude)
    assert [line.name for line in handle.report.sparsified] == expected
    assert list(handle.certify()) == expected


def nan_in(model):
    with torch.no_grad():
        model[2].weight[3, 1] = float("nan")
    return model


def sparsified(model):
    nmflow.torch.sparsify(model, 2, 4, include="0")
    return model


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(8, 2), nn.Embedding(9, 8)),
            {},
            r"nothing to sparsify in this Sequential(.|\n)*0.weight .* too small for m = 4",
        ),
        (mlp, {"include": "layer*"}, r"include pattern 'layer\*' matches no module"),
        (mlp, {"include": ["0", "1"]}, r"include pattern '1' matches no module .*'0'"),
        (Tied, {"include": "bed*"}, r"include pattern 'bed\*' matches no module .*'head'"),
        (Tied, {"exclude": "head"}, "nothing to sparsify(.|\n)*head.weight .*: excluded"),
        (mlp, {"exclude": "head"}, "exclude pattern 'head' matches no module"),
        (mlp, {"include": "0", "exclude": "0"}, "nothing to sparsify"),
        (lambda: nan_in(mlp()), {}, r"2.weight: (.|\n)*nan at index \(3, 1\)"),
        (mlp, {"rule": "sr_ste"}, "unknown rule 'sr_ste': choose 'ste', 'sr-ste'"),
        (mlp, {"refresh": 0}, "every must be at least 1 steps, got 0"),
        (mlp, {"refresh": 2.5}, "refresh must be an integer"),
        (mlp, {"score": "l1"}, "^unknown score 'l1'"),
        (mlp, {"method": "flo"}, "unknown method 'flo'"),
        (mlp, {"pattern": "rows", "method": "greedy"}, "is approximate"),
        (mlp, {"workers": 0}, "workers must be"),
    ],
)
def test_bad_input_leaves_the_model_as_it_was(make, options, message):
    model = make()
    before = snapshot(model)
    with pytest.raises(nmflow.NmflowError, match=message):
        nmflow.torch.sparsify(model, 2, 4, **options)
    assert as_it_was(model, before)


def test_sparsifying_twice():
    model = sparsified(mlp())
    keys = list(model.state_dict())
    with pytest.raises(nmflow.NmflowError, match=r"0.weight is sparsified already: remove\(\) or"):
        nmflow.torch.sparsify(model, 2, 4)
    assert list(model.state_dict()) == keys
    other = nmflow.torch.sparsify(model, 2, 4, include="2")
    assert {line.name: line.note for line in other.report.skipped}["0.weight"] == "not included"
    other.remove()
    assert model[0].weight.count_nonzero() == 96
    assert model[2].weight.count_nonzero() == 128


def test_the_model_can_be_copied_baked_and_bared():
    model = mlp()
    before = snapshot(model)
    handle = nmflow.torch.sparsify(model, 2, 4)
    twin, x = copy.deepcopy(model), torch.randn(5, 12)
    expected, masks = model(x), [model[0].weight != 0, model[2].weight != 0]
    assert torch.equal(twin(x), expected)
    assert twin[0].parametrizations.weight[0].mask is not masked_of(model[0]).mask
    handle.remove()
    assert as_it_was(model, before)
    assert not torch.equal(model(x), expected)
    assert torch.equal(twin(x), expected), "the copy keeps its own"
    nmflow.torch.bake(twin)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert torch.equal(twin(x), expected)
    assert torch.equal(twin[0].weight != 0, masks[0])
    with pytest.raises(nmflow.NmflowError, match="has no masks"):
        nmflow.torch.remove(twin)
    for call in (handle.step, handle.refresh, handle.bake, handle.freeze, handle.certify):
        with pytest.raises(nmflow.NmflowError, match="the masks were removed"):
            call()
    nmflow.torch.sparsify(model, 2, 4).bake()
    assert torch.equal(model(x), expected)


def test_other_parametrizations_stay():
    layer = nn.MultiheadAttention(8, 2)
    nn.utils.parametrize.register_parametrization(layer, "in_proj_bias", nn.Identity())
    handle = nmflow.torch.sparsify(layer, 2, 4)
    handle.remove()
    assert nn.utils.parametrize.is_parametrized(layer, "in_proj_bias")
    assert isinstance(layer.in_proj_weight, nn.Parameter)


def test_parameters_keep_their_order():
    layer = nn.MultiheadAttention(8, 2, kdim=5, vdim=6)
    before = snapshot(layer)
    nmflow.torch.sparsify(layer, 2, 4).bake()
    assert list(dict(layer.named_parameters())) == list(before)


def test_parametrizations_on_top_of_masks():
    layer = nn.Linear(8, 8)
    handle = nmflow.torch.sparsify(layer, 2, 4)
    nn.utils.parametrize.register_parametrization(layer, "weight", nn.Identity())
    with pytest.raises(nmflow.NmflowError, match=r"^weight goes through Identity after"):
        handle.bake()
    assert handle.refresh().n == 2


def test_mean_absorption():
    """Kept entries take up the mean, over the entries of their tile, of what is pruned there."""
    conv = nn.Conv1d(6, 9, 2)
    nmflow.torch.sparsify(conv, 2, 4, mean_absorption=True)
    dense, mask = conv.parametrizations.weight.original.detach(), masked_of(conv).mask
    for position in range(2):
        for row in range(0, 9, 4):
            for column in range(0, 6, 4):
                tile = (slice(row, row + 4), slice(column, column + 4), position)
                absorbed = dense[tile] + (dense[tile] * ~mask[tile]).mean()
                torch.testing.assert_close(conv.weight[tile], absorbed * mask[tile])
    conv.weight.sum().backward()
    assert (conv.parametrizations.weight.original.grad == 1).all()


@pytest.mark.parametrize(
    ("pattern", "shape"), [("rows", (1, 4)), ("columns", (4, 1)), ("unstructured", (8, 8))]
)
def test_mean_absorption_of_other_patterns(pattern, shape):
    layer = nn.Linear(8, 8, dtype=torch.bfloat16)
    handle = nmflow.torch.sparsify(layer, 2, 4, pattern=pattern, mean_absorption=True)
    dense = layer.parametrizations.weight.original.detach()
    corner = tuple(slice(size) for size in shape)
    mean = (dense * ~masked_of(layer).mask)[corner].float().mean()
    expected = (dense[corner] + mean) * masked_of(layer).mask[corner]
    torch.testing.assert_close(layer.weight[corner].float(), expected.float(), atol=1e-2, rtol=1e-2)
    expected = layer.weight.detach().clone()
    handle.bake()
    assert torch.equal(layer.weight, expected)


def test_pruning_method_of_torch():
    conv = nn.Conv2d(8, 12, 3, groups=2)
    dense = conv.weight.detach().clone()
    assert nmflow.torch.NMPruning.apply(conv, "weight", 2, 4) is conv
    expected = torch.cat([nmflow.solve(part, 2, 4, axes=(0, 1)) for part in dense.chunk(2)])
    assert torch.equal(conv.weight, dense * expected)
    prune.remove(conv, "weight")
    assert torch.equal(conv.weight, dense * expected)
    layer = nn.Linear(8, 8)
    prune.ln_structured(layer, "weight", 0.25, n=1, dim=1)
    gone = layer.weight_mask == 0
    scores = torch.rand(8, 8)
    nmflow.torch.NMPruning.apply(
        layer, "weight", 1, 4, pattern="rows", importance_scores=scores, score="raw"
    )
    expected = nmflow.solve(scores * ~gone, 1, 4, pattern="rows", score="raw") & ~gone
    assert torch.equal(layer.weight_mask, expected.float())
    with pytest.raises(nmflow.NmflowError, match="'bias' of a Linear is no weight"):
        nmflow.torch.NMPruning.apply(nn.Linear(8, 8), "bias", 2, 4)


def test_without_pytorch_the_extra_is_named():
    code = "import sys; sys.modules['torch'] = None; import nmflow.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'nmflow[torch]'" in done.stderr


def test_other_modules_have_no_layout():
    assert layouts_of(nn.Bilinear(4, 4, 4)) == {}
