"""A model handed over, and what comes back."""

import pytest

torch = pytest.importorskip("torch")

from conversion.models import (  # noqa: E402
    Stack,
    converted,
    difference,
    is_transposable,
    mlp,
    samples,
)
from torch import nn  # noqa: E402

import nmflow.torch  # noqa: E402

METHODS = ("magnitude", "wanda", "ria", "obs", "adaprune", "sparsegpt", "alps")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_converts(method):
    model, inputs = mlp(), samples()
    new, report = converted(model, inputs, 4, 8, method=method)
    assert [layer.name for layer in report.converted] == ["0.weight", "2.weight"]
    assert all(is_transposable(new[k].weight, 4, 8) for k in (0, 2))
    assert all(layer.certificate.gap == 0 for layer in report.converted)
    assert all(layer.error <= layer.masked_error for layer in report.converted)
    assert difference(new, model, inputs) < 0.35
    assert all(type(each) is nn.Parameter for each in new.parameters())


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


def test_patterns_by_name():
    new, report = converted(mlp(), samples(), {"0": (2, 4), "2": (4, 8)})
    assert [str(layer.pattern) for layer in report.converted] == [
        "2:4 transposable",
        "4:8 transposable",
    ]
    assert is_transposable(new[0].weight, 2, 4)


def test_scores_of_the_users_own():
    model, inputs = mlp(), samples()

    def own(problem):
        return problem.weights.abs() * problem.norms[:, None, :]

    new, _ = converted(model, inputs, 2, 4, method=own)
    wanda, _ = converted(model, inputs, 2, 4, method="wanda")
    assert torch.equal(new[2].weight, wanda[2].weight)


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
