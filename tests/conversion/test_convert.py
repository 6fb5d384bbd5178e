"""A model handed over, and what comes back."""

import copy

import pytest

torch = pytest.importorskip("torch")

from conversion.models import Crossed, Experts, Stack, mlp, samples  # noqa: E402
from torch import nn  # noqa: E402

import nmflow.torch  # noqa: E402
from nmflow.torch.conversion.calibrating import order  # noqa: E402

METHODS = ("magnitude", "wanda", "ria", "obs", "adaprune", "sparsegpt", "alps")


def difference(model, other, inputs):
    """Squared difference of outputs, relative to what varies of them."""
    with torch.no_grad():
        mine = torch.cat([model(each) for each in inputs])
        theirs = torch.cat([other(each) for each in inputs])
    varies = theirs - theirs.mean(tuple(range(theirs.ndim - 1)))
    return float((mine - theirs).square().sum() / varies.square().sum())


def converted(model, batches, *args, **options):
    """A converted copy, and its report."""
    new = copy.deepcopy(model)
    return new, nmflow.torch.convert(new, batches, *args, **options)


def is_transposable(weight, n, m):
    kept = (weight.detach() != 0).numpy()
    return nmflow.certify(kept.astype("f4"), kept, n, m).feasible


@pytest.mark.parametrize("method", METHODS)
def test_every_method_converts(method):
    model, inputs = mlp(), samples()
    new, report = converted(model, inputs, 4, 8, method=method)
    assert [layer.name for layer in report.converted] == ["0.weight", "2.weight"]
    assert all(is_transposable(new[k].weight, 4, 8) for k in (0, 2))
    assert all(layer.certificate.gap == 0 for layer in report.converted)
    assert all(layer.error <= layer.masked_error for layer in report.converted)
    assert difference(new, model, inputs) < 0.35
    bare = {name: each for name, each in model.named_parameters() if "bias" not in name}
    assert all(type(each) is nn.Parameter for each in new.parameters())
    assert bare.keys() == {"0.weight", "2.weight"}


@pytest.mark.parametrize("pattern", ["rows", "columns", "unstructured"])
@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "alps"])
def test_every_pattern(pattern, method):
    model, inputs = mlp(), samples()
    new, report = converted(model, inputs, 2, 4, method=method, pattern=pattern)
    for k in (0, 2):
        kept = (new[k].weight.detach() != 0).numpy()
        certificate = nmflow.certify(kept.astype("f4"), kept, 2, 4, pattern=pattern)
        assert certificate.feasible
        assert certificate.full
    assert report.error < 0.3


def test_better_methods_lose_less():
    model, inputs = Stack(), samples(seed=5, batches=16)
    lost = {}
    for name, options in {
        "mask": {"method": "wanda", "reconstruction": None, "inputs": "converted"},
        "refitted": {"method": "wanda", "inputs": "converted"},
        "joint": {"method": "alps", "inputs": "converted"},
    }.items():
        new, _ = converted(model, inputs, 2, 4, **options)
        lost[name] = difference(new, model, inputs)
    assert lost["mask"] > lost["refitted"] > lost["joint"]


def test_errors_of_earlier_layers_are_made_up_for():
    model, inputs = Stack(depth=4), samples(seed=5, batches=24)
    lost = {
        kind: difference(
            converted(model, inputs, 2, 4, method="wanda", inputs=kind)[0], model, inputs
        )
        for kind in ("both", "converted", "dense")
    }
    assert lost["both"] < lost["converted"]
    assert lost["both"] < lost["dense"]


def test_the_first_layer_is_least_squares_with_a_bias():
    model, inputs = mlp(), samples(batches=6)
    new, _ = converted(model, inputs, 2, 4, method="magnitude", damping=1e-7, include="0")
    x = torch.cat(inputs).double()
    target = x @ model[0].weight.detach().double().T + model[0].bias.detach().double()
    mask = nmflow.solve(model[0].weight.detach(), 2, 4)
    for row in range(32):
        seen = torch.cat([x[:, mask[row]], torch.ones(len(x), 1)], 1)
        solution = torch.linalg.lstsq(seen, target[:, row]).solution
        torch.testing.assert_close(
            new[0].weight[row, mask[row]].double(), solution[:-1], rtol=1e-3, atol=1e-4
        )
        torch.testing.assert_close(new[0].bias[row].double(), solution[-1], rtol=1e-3, atol=1e-4)


def test_without_bias_correction_biases_stay():
    model, inputs = mlp(), samples()
    new, _ = converted(model, inputs, 2, 4, bias_correction=False)
    assert torch.equal(new[0].bias, model[0].bias)
    assert not torch.equal(new[0].weight, model[0].weight)


@pytest.mark.parametrize("inputs", ["both", "converted", "dense"])
def test_a_chain_of_blocks_gives_what_whole_runs_give(inputs, monkeypatch):
    model, batches = Stack(), samples(shape=(3,))
    streamed, report = converted(model, batches, 2, 4, inputs=inputs)
    assert report.converted[1].name == "blocks.0.first.weight"
    monkeypatch.setattr(order, "chains_of", lambda _: [])
    whole, _ = converted(model, batches, 2, 4, inputs=inputs)
    for mine, other in zip(streamed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_a_chain_is_run_a_block_at_a_time():
    model, calls = Stack(depth=5), []
    model.blocks[0].register_forward_pre_hook(lambda *_: calls.append(0))
    nmflow.torch.convert(model, samples(), 2, 4, include="blocks*")
    # Once for its order, twice for the proof of the chain, and for three stages and the next block.
    assert len(calls) < 4 * 14


def test_blocks_that_are_given_other_things_are_no_chain():
    runs = order.Calibration if hasattr(order, "Calibration") else None
    from nmflow.torch.conversion.calibrating.blocks import chains_of
    from nmflow.torch.conversion.calibrating.calibration import Calibration

    del runs
    with torch.no_grad():
        (chain,) = chains_of(Calibration(Stack(), samples()))
        assert chain.name == "blocks"
        assert chain.place == 0
        assert chains_of(Calibration(Stack(other_scales=True), samples())) == []
    model = Stack(other_scales=True)
    new, report = converted(model, samples(), 2, 4)
    assert len(report.converted) == 11
    assert difference(new, model, samples()) < 0.3


def test_a_function_that_runs_the_model_gives_the_same():
    model, inputs = Stack(), samples()
    batches, _ = converted(model, inputs, 2, 4, method="wanda")

    def read(one):
        for each in inputs:
            one(each)

    function, _ = converted(model, read, 2, 4, method="wanda")
    for mine, other in zip(function.parameters(), batches.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: [x], lambda x: {"input": x}])
def test_batches_are_arguments_or_keywords(wrap):
    model, inputs = mlp(), samples()
    plain, _ = converted(model, inputs, 2, 4, method="wanda")
    wrapped, _ = converted(model, (wrap(each) for each in inputs), 2, 4, method="wanda")
    assert torch.equal(plain[2].weight, wrapped[2].weight)


def test_training_mode_and_gradients_are_as_before():
    model = nn.Sequential(nn.Dropout(0.5), mlp())
    plain, _ = converted(model[1], samples(), 2, 4, method="wanda")
    model[1].eval()
    model.requires_grad_(False)[1][0].requires_grad_(True)
    nmflow.torch.convert(model, samples(), 2, 4, method="wanda")
    assert torch.equal(model[1][2].weight, plain[2].weight)
    assert model.training
    assert model[0].training
    assert not model[1].training
    assert [each.requires_grad for each in model.parameters()] == [True, True, False, False]


def test_attention_and_convolutions_and_batch_norms():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2, enable_nested_tensor=False
    ).eval()
    new, report = converted(encoder, samples(shape=(5,), batches=12), 2, 4)
    assert len(report.converted) == 8
    assert difference(new, encoder, samples(shape=(5,))) < 0.3
    net = nn.Sequential(
        nn.Conv2d(8, 16, 3, groups=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3)
    )
    images = [torch.randn(8, 8, 9, 9) * 3 + 1 for _ in range(4)]
    for image in images:
        net(image)
    net.eval()
    new, report = converted(net, images, 2, 4, include="*")
    assert report.batch_norms == 1
    assert new[1].momentum == net[1].momentum
    with torch.no_grad():
        seen = new[0](torch.cat(images))
    torch.testing.assert_close(new[1].running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not torch.equal(new[1].running_mean, net[1].running_mean)


def test_zeros_stay_zeros():
    model, inputs = mlp(), samples()
    with torch.no_grad():
        for k in (0, 2):
            model[k].weight *= torch.rand(model[k].weight.shape) < 0.4
    for method in ("magnitude", "alps", "sparsegpt"):
        new, _ = converted(model, inputs, 2, 4, method=method, keep_zeros=True)
        for k in (0, 2):
            assert not new[k].weight[model[k].weight == 0].any()
            assert is_transposable(new[k].weight, 2, 4)
    new, _ = converted(model, inputs, 2, 4)
    assert new[0].weight[model[0].weight == 0].any()


def test_zeros_are_pruned_first():
    model, inputs = mlp(), samples()
    kept = nmflow.solve(torch.rand(32, 16), 2, 4)
    with torch.no_grad():
        model[0].weight.fill_(1.0).mul_(kept)
    # Without the zeros others would be worth more to the outputs.
    for method in ("wanda", "alps", "sparsegpt"):
        new, _ = converted(model, inputs, 2, 4, method=method, keep_zeros=True, inputs="both")
        assert torch.equal(new[0].weight != 0, kept)


def test_n_is_chosen_from_zeros():
    model = nn.Sequential(*mlp(), nn.Linear(16, 16))
    with torch.no_grad():
        for k, share in ((0, 0.9), (2, 0.6)):
            torch.manual_seed(k)
            model[k].weight *= torch.rand(model[k].weight.shape) >= share
    new, report = converted(model, samples(), None, 8, keep_zeros=True, include="*")
    for k, layer in zip((0, 2), report.converted, strict=True):
        sparsity = float((model[k].weight == 0).double().mean())
        assert layer.pattern.n == nmflow.suggest_n(8, sparsity) < 8
        assert is_transposable(new[k].weight, layer.pattern.n, 8)
    assert "4.weight: SKIPPED, 0 % of it are 0, too few for any n below m" in str(report)
    _, loose = converted(model, samples(), None, 8, confidence=0.1)
    assert loose.converted[0].pattern.n < report.converted[0].pattern.n


def test_a_weight_of_two_layers_sees_what_both_see():
    model, inputs = mlp(), samples()
    twin = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
    twin[2].weight = twin[0].weight
    new, report = converted(twin, inputs, 2, 4, inputs="converted")
    (layer,) = report.converted
    assert layer.samples == 2 * 4 * 32
    assert new[0].weight is new[2].weight
    assert "shared with 2.weight" in layer.note
    del model


def test_patterns_by_name():
    new, report = converted(mlp(), samples(), {"0": (1, 4), "2": (2, 8)})
    assert [str(layer.pattern) for layer in report.converted] == [
        "1:4 transposable",
        "2:8 transposable",
    ]
    assert is_transposable(new[0].weight, 1, 4)


def test_scores_of_the_users_own():
    model, inputs = mlp(), samples()

    def own(problem):
        return problem.weights.abs() * problem.norms[:, None, :]

    new, _ = converted(model, inputs, 2, 4, method=own)
    wanda, _ = converted(model, inputs, 2, 4, method="wanda")
    assert torch.equal(new[2].weight, wanda[2].weight)


def test_padding_does_not_count():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, states, attention_mask=None):
            return self.layer(states)

    torch.manual_seed(0)
    model, (whole,) = Reads(), samples(batches=1, shape=(6,))
    mask = torch.ones(whole.shape[:2], dtype=torch.long)
    mask[:, 4:] = 0
    padded = whole.clone()
    padded[:, 4:] = 100.0
    new, report = converted(model, [{"states": padded, "attention_mask": mask}], 2, 4)
    other, _ = converted(model, [whole[:, :4]], 2, 4)
    assert report.converted[0].samples == 32 * 4
    torch.testing.assert_close(new.layer.weight, other.layer.weight, rtol=1e-4, atol=1e-5)


def test_experts_that_no_sample_reaches():
    inputs = [torch.randn(8, 16).abs() * -1 for _ in range(3)]
    model = Experts()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(nmflow.NmflowError, match=r"no calibration sample reaches experts.1.weight"):
        nmflow.torch.convert(model, inputs, 2, 4)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    report = nmflow.torch.convert(model, inputs, 2, 4, unreached="magnitude")
    by_name = {layer.name: layer for layer in report.converted}
    assert by_name["experts.1.weight"].status == "magnitude"
    old = before["experts.1.weight"]
    assert torch.equal(model.experts[1].weight, old * nmflow.solve(old, 2, 4))
    assert "what it sees is not known" in str(report)


def test_stacked_experts_are_converted_by_magnitude_if_asked():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
        vocab_size=50,
    )
    model = transformers.MixtralForCausalLM(config)
    tokens = [torch.randint(50, (4, 6)) for _ in range(4)]
    with pytest.raises(nmflow.NmflowError, match=r"experts stacked in model.layers.0.mlp.experts."):
        nmflow.torch.convert(model, tokens, 2, 4)
    report = nmflow.torch.convert(model, tokens, 2, 4, unreached="magnitude")
    by_status = {layer.name: layer.status for layer in report.converted}
    stacks = [name for name, status in by_status.items() if status == "magnitude"]
    assert len(stacks) == 2
    assert all(".experts." in name for name in stacks)
    assert len(by_status) == 6


def test_the_report_prints():
    model = nn.Sequential(nn.Embedding(9, 16), *mlp(), nn.Linear(16, 2))
    tokens = [torch.randint(9, (8, 4)) for _ in range(3)]
    _, report = converted(model, tokens, 2, 4, method="wanda")
    lines = str(report).splitlines()
    assert lines[0].startswith("wanda + least-squares: 2 converted, 2 SKIPPED in ")
    assert [line.split()[0] for line in lines[2:4]] == ["1.weight", "3.weight"]
    assert "0.weight: SKIPPED, embedding (dense unless included)" in str(report)
    assert "matrices of 2 x 16 are too small for m = 4" in str(report)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    model, inputs = mlp().to(dtype), [each.to(dtype) for each in samples()]
    new, report = converted(model, inputs, 2, 4)
    assert new[0].weight.dtype == dtype
    assert is_transposable(new[0].weight.float(), 2, 4)
    assert report.error < 0.3


def test_layers_are_converted_as_data_meets_them():
    _, report = converted(Crossed(), samples(), 2, 4, method="wanda")
    names = [layer.name.removesuffix(".weight") for layer in report.converted]
    assert names == ["blocks.0", "beside", "blocks.1", "blocks.2"]
