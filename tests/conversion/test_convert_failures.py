"""Wrong input, interrupts, and going on from a folder."""

import copy

import pytest

torch = pytest.importorskip("torch")

from conversion.models import Stack, mlp, samples  # noqa: E402
from torch import nn  # noqa: E402

import nmflow.torch  # noqa: E402


def nan_in(batches):
    batches[1][2, 3] = float("nan")
    return batches


def nan_weight():
    model = mlp()
    with torch.no_grad():
        model[0].weight[1, 2] = float("nan")
    return model


def sparsified():
    model = mlp()
    nmflow.torch.sparsify(model, 2, 4)
    return model


WRONG = [
    (mlp, [], {}, "calibration is empty: give some batches"),
    (mlp, torch.zeros(4, 16), {}, r"calibration is a Tensor: give a list of batches, such as \[b"),
    (mlp, {"input": torch.zeros(4, 16)}, {}, "calibration is a dict: give a list of batches"),
    (mlp, 3, {}, "calibration is a int"),
    (mlp, ["words"], {}, "calibration batch 0 is a str without a tensor: .* tokenized if it is"),
    (mlp, [torch.zeros(0, 16)], {}, r"calibration batch 0 is empty, of shape \(0, 16\)"),
    (mlp, nan_in(samples()), {}, r"calibration batch 1 of shape \(32, 16\) has NaN"),
    (
        mlp,
        [torch.zeros(4, 16, device="meta")],
        {},
        "calibration batch 0 is on meta, the mo",
    ),
    (mlp, [torch.zeros(4, 9)], {}, r"0.weight: .* a tensor of shape \(4, 9\), not"),
    (lambda: mlp().to("meta"), [torch.zeros(4, 16, device="meta")], {}, "0.weight is on the meta"),
    (nan_weight, samples(), {}, "not finite|must be finite"),
    (sparsified, samples(), {}, "sparsified already"),
    (mlp, samples(), {"method": "alp"}, "unknown method 'alp': .* the nearest is 'alps'"),
    (mlp, samples(), {"method": 3}, "method must be a name"),
    (mlp, samples(), {"reconstruction": "least"}, "unknown reconstruction 'least'"),
    (mlp, samples(), {"reconstruction": 1}, "reconstruction must be one of least-squares, adam"),
    (mlp, samples(), {"inputs": "new"}, "inputs must be one of both, converted, dense"),
    (mlp, samples(), {"unreached": "drop"}, "unreached must be one of error, magnitude"),
    (mlp, samples(), {"damping": 0}, "damping must be a number above 0"),
    (mlp, samples(), {"solver": "flo"}, "flo"),
    (mlp, samples(), {"exclude": "*"}, "nothing to sparsify"),
    (
        mlp,
        samples(),
        {"method": lambda p: p.weights[0]},
        r"expected a tensor of shape \(1, 32, 16\)",
    ),
    (mlp, samples(), {"method": lambda p: -p.weights.abs()}, "all must be finite and >= 0"),
]


@pytest.mark.parametrize(("make", "calibration", "options", "message"), WRONG)
def test_wrong_input_is_one_clear_error(make, calibration, options, message):
    model = make()
    before = copy.deepcopy({name: each.data for name, each in model.named_parameters()})
    hooks = [len(each._forward_pre_hooks) for each in model.modules()]
    with pytest.raises(nmflow.NmflowError, match=message):
        nmflow.torch.convert(model, calibration, 2, 4, **options)
    for name, each in model.named_parameters():
        if not each.is_meta:
            torch.testing.assert_close(each.data, before[name], equal_nan=True, rtol=0, atol=0)
    assert model.training
    assert hooks == [len(each._forward_pre_hooks) for each in model.modules()]


def test_m_is_missing():
    with pytest.raises(nmflow.NmflowError, match="m is missing"):
        nmflow.torch.convert(mlp(), samples(), 2)
    with pytest.raises(nmflow.NmflowError, match=r"m is missing: convert\(model, data, None, 16\)"):
        nmflow.torch.convert(mlp(), samples(), None)


def test_zeros_that_suggest_nothing():
    with pytest.raises(nmflow.NmflowError, match=r"no weight has zeros enough .* at most 0 % of a"):
        nmflow.torch.convert(mlp(), samples(), None, 4)
    with pytest.raises(nmflow.NmflowError, match="zeros suggest none for 1:4 unstructured"):
        nmflow.torch.convert(mlp(), samples(), None, 4, pattern="unstructured")


def test_fewer_samples_than_features_is_said():
    report = nmflow.torch.convert(mlp(), samples(batches=1, size=10), 2, 4)
    assert "10 samples for 16 features: damping decides the rest" in str(report)


def test_a_layer_that_sees_only_zeros():
    model = mlp()
    report = nmflow.torch.convert(model, [torch.zeros(20, 16)], 2, 4)
    assert all(torch.isfinite(each).all() for each in model.parameters())
    assert report.converted[0].error == 0


class Interrupt:
    """Progress that ends the run before a weight."""

    def __init__(self, name, error=KeyboardInterrupt):
        self.name, self.error = name, error

    def __call__(self, name, done, total):
        if name == self.name:
            raise self.error


def test_after_an_interrupt_the_model_is_half_converted_and_says_so():
    model = Stack()
    before = copy.deepcopy(model.state_dict())
    stop = Interrupt("blocks.1.first.weight")
    with pytest.raises(KeyboardInterrupt) as caught:
        nmflow.torch.convert(model, samples(), 2, 4, progress=stop)
    report = caught.value.report
    assert [layer.name for layer in report.converted] == [
        "before.weight",
        "blocks.0.first.weight",
        "blocks.0.gate.weight",
        "blocks.0.second.weight",
    ]
    assert len(report.left) == 7
    assert "blocks.1.first.weight: LEFT as it was" in str(report)
    assert "4 of 11 weights are converted" in caught.value.__notes__[0]
    for layer in report.left:
        assert torch.equal(model.state_dict()[layer.name], before[layer.name])
    for layer in report.converted:
        kept = (model.state_dict()[layer.name] != 0).numpy()
        assert nmflow.certify(kept.astype("f4"), kept, 2, 4).full
    assert not any(each._forward_pre_hooks for each in model.modules())


@pytest.mark.parametrize("inputs", ["both", "converted", "dense"])
def test_going_on_from_a_folder_ends_as_one_run(tmp_path, inputs):
    whole, batches = Stack(), samples()
    expected = nmflow.torch.convert(whole, batches, 2, 4, inputs=inputs)
    options = {"inputs": inputs, "resume": tmp_path / "layers"}
    for name in ("blocks.0.second.weight", "blocks.2.first.weight"):
        with pytest.raises(KeyboardInterrupt):
            nmflow.torch.convert(Stack(), batches, 2, 4, progress=Interrupt(name), **options)
    again = Stack()
    report = nmflow.torch.convert(again, batches, 2, 4, **options)
    statuses = [layer.status for layer in report.converted]
    assert statuses == ["resumed"] * 7 + ["converted"] * 4
    for mine, other in zip(again.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)
    assert [a.certificate for a in report.layers] == [b.certificate for b in expected.layers]
    assert report.layers[0].error == expected.layers[0].error
    assert "resumed" in str(report)


def test_a_folder_of_other_settings_or_of_another_model_is_refused(tmp_path):
    nmflow.torch.convert(mlp(), samples(), 2, 4, resume=tmp_path / "layers")
    with pytest.raises(nmflow.NmflowError, match=r"was begun with damping = 0.01, not 0.1"):
        nmflow.torch.convert(mlp(), samples(), 2, 4, damping=0.1, resume=tmp_path / "layers")
    with pytest.raises(nmflow.NmflowError, match="was begun with calibration = "):
        nmflow.torch.convert(mlp(), samples(seed=9), 2, 4, resume=tmp_path / "layers")
    with pytest.raises(nmflow.NmflowError, match=r"made from other weights of 0.weight"):
        nmflow.torch.convert(mlp(seed=3), samples(), 2, 4, resume=tmp_path / "layers")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(nmflow.NmflowError, match=r"holds other things and no conversion.json"):
        nmflow.torch.convert(mlp(), samples(), 2, 4, resume=tmp_path / "other")


def test_a_half_written_layer_is_done_again(tmp_path):
    nmflow.torch.convert(mlp(), samples(), 2, 4, resume=tmp_path)
    (tmp_path / "2.weight.pt").rename(tmp_path / "2.weight.part")
    report = nmflow.torch.convert(mlp(), samples(), 2, 4, resume=tmp_path)
    assert [layer.status for layer in report.converted] == ["resumed", "converted"]
    assert not list(tmp_path.glob("*.part"))


def test_a_model_that_fails_half_way_leaves_no_hooks():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.runs = nn.Linear(16, 16), 0

        def forward(self, x):
            self.runs += 1
            if self.runs == 3:
                raise ValueError("enough")
            return self.layer(x)

    model = Fails()
    with pytest.raises(nmflow.NmflowError, match=r"calibration batch 0: .*ValueError: enough"):
        nmflow.torch.convert(model, samples(), 2, 4, inputs="converted")
    assert not model.layer._forward_pre_hooks
    assert model.training
