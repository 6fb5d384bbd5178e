"""Sparse layers compute what dense ones do, and say why where they can't be sparse."""

import copy

import pytest

torch = pytest.importorskip("torch")

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
import nmflow.torch.accelerating.examine as examining  # noqa: E402
from nmflow import cli  # noqa: E402
from nmflow.torch.accelerating import accelerate as accelerating  # noqa: E402
from nmflow.torch.accelerating import doctor, sparse_linear, support  # noqa: E402


def linear(out=64, into=128, dtype=torch.bfloat16, masked=True, bias=True):
    layer = torch.nn.Linear(into, out, bias=bias, dtype=dtype)
    if masked:
        with torch.no_grad():
            layer.weight *= nmflow.solve(layer.weight, 2, 4)
    return layer


@pytest.fixture
def compressed(monkeypatch):
    """As if the CPU had sparse tensor cores: what is compressed is noted and stays dense."""
    seen = []

    def compress(matrix):
        assert matrix.is_contiguous()
        groups = (matrix != 0).unflatten(-1, (-1, 4)).sum(-1)
        assert (groups <= 2).all()
        seen.append(tuple(matrix.shape))
        return matrix.clone()

    monkeypatch.setattr(sparse_linear, "compress", compress)
    for module in (sparse_linear, accelerating):
        monkeypatch.setattr(module, "why_not_device", lambda device: None)
    return seen


@pytest.mark.parametrize("bias", [True, False])
def test_both_passes_are_those_of_the_dense_layer(compressed, bias):
    dense = linear(bias=bias)
    sparse = nmflow.torch.SparseLinear(copy.deepcopy(dense))
    inputs = torch.randn(3, 5, 128, dtype=torch.bfloat16)
    results = []
    for layer in (dense, sparse):
        given = inputs.clone().requires_grad_()
        out = layer(given)
        out.square().sum().backward()
        results.append((out, given.grad, layer.weight.grad * (layer.weight != 0)))
    for one, other in zip(*results, strict=True):
        # bfloat16 rounds at other places where the bias is added apart.
        assert (one - other).float().norm() < 0.01 * one.float().norm()
    assert (sparse.weight.grad[sparse.weight == 0] == 0).all()
    assert compressed == [(64, 128), (128, 64)]


def test_weights_are_compressed_again_when_they_change(compressed):
    layer = nmflow.torch.SparseLinear(linear())
    inputs = torch.randn(2, 128, dtype=torch.bfloat16)
    first = layer(inputs)
    layer(inputs)
    assert len(compressed) == 2
    with torch.no_grad():
        layer.weight *= 2
    again = layer(inputs)
    assert len(compressed) == 4
    assert torch.allclose((again - layer.bias).float(), 2 * (first - layer.bias).float(), atol=0.02)
    copy.deepcopy(layer)(inputs)
    assert len(compressed) == 6


def test_models_report_what_became_of_each_layer(compressed):
    model = torch.nn.Sequential(linear(), linear(64, 64, masked=False), linear(96, 64), linear())
    model[3].float()
    first = model[0].weight
    report = nmflow.torch.accelerate(model)
    assert [layer.replaced for layer in report] == [True, False, False, False]
    assert model[0].weight is first
    assert isinstance(model[0], nmflow.torch.SparseLinear)
    reasons = [layer.reason for layer in report]
    assert reasons[0] == ""
    assert "not 2:4 in both directions" in reasons[1]
    assert "multiples of 64" in reasons[2]
    assert reasons[3].startswith("dtype float32")
    assert str(report[0]) == "0 (64 x 128): sparse"
    assert str(report[3]).startswith("3 (64 x 128): dense: dtype")
    assert nmflow.torch.accelerate(model)[0].replaced


def test_only_masks_of_both_directions_are_taken():
    one_way = torch.nn.Linear(128, 64, dtype=torch.float16)
    with torch.no_grad():
        one_way.weight *= nmflow.solve(one_way.weight, 2, 4, pattern="rows")
    with pytest.raises(nmflow.NmflowError, match="column groups hold more than 2 of 4"):
        nmflow.torch.SparseLinear(one_way)


def test_on_the_cpu_it_is_the_dense_layer_and_says_so():
    dense = linear()
    model = torch.nn.Sequential(copy.deepcopy(dense))
    (report,) = nmflow.torch.accelerate(model)
    assert report.replaced
    assert report.reason == "no sparse tensor cores on device cpu" == model[0].why_dense
    inputs = torch.randn(4, 128, dtype=torch.bfloat16)
    assert torch.equal(model(inputs), dense(inputs))
    assert model.state_dict().keys() == {"0.weight", "0.bias"}


def test_layers_that_must_stay_are_named():
    model = torch.nn.Sequential(linear())
    nmflow.torch.sparsify(model, 2, 4)
    assert "bake its mask first" in nmflow.torch.accelerate(model)[0].reason
    assert "model itself" in nmflow.torch.accelerate(linear())[0].reason
    assert (
        "meta device" in nmflow.torch.accelerate(torch.nn.Sequential(linear()).to("meta"))[0].reason
    )

    class Own(torch.nn.Linear):
        """Of a user's."""

    own = Own(64, 64, dtype=torch.float16)
    assert "Own may multiply" in nmflow.torch.accelerate(torch.nn.Sequential(own))[0].reason


def test_old_devices_are_named(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "7.5" in support.why_not_device(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert support.why_not_device(torch.device("cuda")) is None


def test_the_doctor_says_what_has_no_kernel(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "4:8, 8:16 and 16:32 have no native kernel" in out
    assert "No CUDA device" in out
    assert cli.main(["doctor", "--shape", "100x64"]) == 2
    assert "--shape 100x64: give OUTxIN" in capsys.readouterr().err


def test_the_doctor_measures_each_device(capsys, monkeypatch, compressed):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Test")
    monkeypatch.setattr(doctor.torch, "device", lambda *_: torch.empty(0).device)
    monkeypatch.setattr(doctor, "why_not_device", lambda device: None)
    calls = []

    def seconds(call, rounds=1):
        call()
        calls.append(call)
        return [2e-3, 4e-3, 1e-3, 4e-3][len(calls) - 1]

    monkeypatch.setattr(doctor, "median_seconds", seconds)
    monkeypatch.setattr(doctor, "TOKENS", 8)
    assert cli.main(["doctor", "--shape", "64x128"]) == 0
    out = capsys.readouterr().out
    assert "forward 2.000 ms dense, 1.000 sparse (2.00 x)" in out
    assert "with backward 4.000, 4.000 (1.00 x)" in out
    assert compressed == [(64, 128), (128, 64)]


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture
def one_device(monkeypatch, compressed):
    """A device that times nothing twice."""
    timed = []

    def compare(shape, device):
        timed.append(shape)
        return f"1.50 x of {device}"

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(examining, "compare", compare)
    for module in (examining, doctor):
        monkeypatch.setattr(module, "why_not_device", lambda device: None)
    return timed


def test_layers_are_told_with_what_runs_them(no_device):
    model = torch.nn.Sequential(linear(), linear(masked=False), linear(dtype=torch.float64))
    report = nmflow.torch.examine(model)
    assert report[0].forward == report[0].backward
    assert {"NVIDIA Ampere and later", "NVIDIA Hopper", "AMD CDNA 3, CDNA 4"} <= set(
        report[0].forward
    )
    assert str(
        report[1]
    ) == "1 (64 x 128, bfloat16): natively both ways by nothing; not measured:" + (
        " no CUDA device here"
    )
    assert report[2].forward == ()
    assert all(layer.measured == {} for layer in report)
    under_masks = torch.nn.Sequential(linear(masked=False))
    nmflow.torch.sparsify(under_masks, 2, 4)
    assert nmflow.torch.examine(under_masks)[0].forward == report[0].forward


def test_each_way_is_told_by_itself(no_device):
    dense = linear(masked=False)
    by = {}
    for n, m, pattern in [(2, 4, "rows"), (2, 4, "columns"), (1, 2, "rows"), (2, 4, None)]:
        layer = copy.deepcopy(dense).float() if m == 2 else copy.deepcopy(dense)
        if pattern:
            with torch.no_grad():
                layer.weight *= nmflow.solve(layer.weight, n, m, pattern=pattern)
        (told,) = nmflow.torch.examine(layer)
        by[n, m, pattern] = (told.forward, told.backward)
    names = ("NVIDIA Ampere and later", "NVIDIA Hopper", "NVIDIA Blackwell")
    assert by[2, 4, "rows"] == ((*names, "AMD CDNA 3, CDNA 4"), ())
    assert by[2, 4, "columns"] == by[2, 4, "rows"][::-1]
    assert by[1, 2, "rows"] == (names, ())
    assert by[2, 4, None] == ((), ())
    assert nmflow.torch.examine(copy.deepcopy(dense).to("meta"))[0].forward == ()


def test_each_shape_is_timed_once(one_device):
    model = torch.nn.Sequential(linear(), linear(masked=False), linear(96, 64))
    report = nmflow.torch.examine(model)
    assert one_device == [(64, 128)]
    assert report[1].measured == {"cuda:0": "1.50 x of cuda:0"}
    assert str(report[1]).endswith("by nothing; at 2:4 on cuda:0: 1.50 x of cuda:0")
    assert "multiples of 64" in report[2].measured["cuda:0"]


def test_each_device_is_told_by_itself(one_device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        examining, "why_not_device", lambda device: "too old" if device.index else None
    )
    (told,) = nmflow.torch.examine(linear())
    assert told.measured == {"cuda:0": "1.50 x of cuda:0", "cuda:1": "not measured: too old"}
    assert one_device == [(64, 128)]


def test_the_doctor_looks_at_files(no_device, capsys, tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    one_way = torch.randn(64, 128).half()
    one_way *= nmflow.solve(one_way, 2, 4, pattern="rows")
    tensors = {
        "a.query.weight": linear().weight.detach(),
        "b.query.weight": one_way,
        "a.query.bias": torch.ones(3),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    assert cli.main(["doctor", str(tmp_path / "model.safetensors")]) == 0
    lines = capsys.readouterr().out.splitlines()
    (first,) = (line for line in lines if line.startswith("a.query.weight (64 x 128, BF16)"))
    assert "natively both ways by NVIDIA Ampere and later, NVIDIA Hopper" in first
    assert first.endswith("not measured: no CUDA device here")
    (second,) = (line for line in lines if line.startswith("b.query.weight (64 x 128, F16)"))
    assert "forward by NVIDIA Ampere and later" in second
    assert "backward by nothing" in second
    assert lines[-1] == "2 layers; 1 tensors are dense by default"


def test_the_doctor_measures_what_a_model_has(one_device, capsys, monkeypatch, tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Test")
    tensors = {f"{name}.query.weight": linear().weight.detach() for name in "ab"}
    save_file(tensors, tmp_path / "model.safetensors")
    assert cli.main(["doctor", str(tmp_path / "model.safetensors")]) == 0
    assert capsys.readouterr().out.count("at 2:4 on cuda:0: 1.50 x of cuda:0") == 2
    assert one_device == [(64, 128)]
