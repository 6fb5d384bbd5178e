"""From tensors to kernels and back; where there is no CUDA, what says so."""

import ctypes
import sys
import types
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parents[2]))
# ruff: noqa: E402

import nmflow
import nmflow.torch
import nmflow.torch.operator
from benchmarks.gpu import host_kernels
from nmflow.cuda import launch
from nmflow.cuda.problem import arguments
from nmflow.device import kernels, solve


@pytest.fixture
def on_the_host(monkeypatch):
    """Kernels that run where the tensors are: in host memory."""
    if host_kernels.compiler() is None:
        pytest.skip("no C++ compiler")
    seen = []

    def compiled(n, m, dtype, signed, device):
        seen.append((n, m, dtype, signed))
        return host_kernels.library(n, m, dtype, signed)

    def run(found, stream, pointers, strides, shape, m, itemsize):
        assert stream == 77
        problem = arguments(pointers, strides, shape, m, itemsize)
        found.solve_on_host(ctypes.byref(problem))

    monkeypatch.setattr(kernels, "on_cuda", lambda tensor: True)
    monkeypatch.setattr(kernels, "current_stream", lambda device: 77)
    monkeypatch.setattr(launch, "kernels", compiled)
    monkeypatch.setattr(launch, "launch", run)
    return seen


def test_tensors_of_every_layout_go_to_the_kernels(on_the_host, rng):
    weights = torch.from_numpy(rng.standard_normal((2, 13, 3, 24)).astype(np.float32))
    for tensor, axes in [
        (weights, (1, 3)),
        (weights, (3, 1)),
        (weights[0].transpose(0, 2), (0, 2)),
        (weights[:, :12, 0, ::2], (-2, -1)),
        (weights[:, 1:, 1, 1:], (-2, -1)),
    ]:
        mask = solve.solve(tensor, 2, 4, axes=axes)
        assert mask.dtype == torch.bool
        assert torch.equal(mask, nmflow.solve(tensor, 2, 4, axes=axes))
    assert on_the_host == [(2, 4, "float32", False)] * 5


def test_what_kernels_cannot_do_goes_on_as_before(on_the_host, rng):
    weights = torch.from_numpy(rng.standard_normal((8, 8)))
    for tensor, options in [
        (weights, {}),
        (weights.float(), {"score": "square"}),
        ((10 * weights).to(torch.int32), {}),
        (weights[:0].float(), {}),
    ]:
        assert torch.equal(
            solve.solve(tensor, 2, 4, **options), nmflow.solve(tensor, 2, 4, **options)
        )
    solve.solve(weights.float(), 4, 4)
    assert on_the_host == []


def test_nan_is_found_by_the_kernels_and_raised(on_the_host, monkeypatch):
    weights = torch.ones(8, 8)
    weights[5, 6] = float("nan")
    module = sys.modules["nmflow.solve"]
    monkeypatch.setattr(
        module, "on_accelerator", lambda array: isinstance(array, torch.Tensor) and "torch"
    )
    with pytest.raises(nmflow.NmflowError, match=r"nan at index \(5, 6\)"):
        nmflow.solve(weights, 2, 4)


def test_the_operator_does_not_raise_for_nan(on_the_host):
    weights = torch.randn(2, 8, 8)
    mask, finite = torch.ops.nmflow.solve(weights, 2, 4)
    assert torch.equal(mask, nmflow.solve(weights, 2, 4))
    assert bool(finite)
    weights[0, 0, 0] = float("inf")
    mask, finite = torch.ops.nmflow.solve(weights, 2, 4)
    assert not bool(finite)
    assert torch.equal(mask[1], nmflow.solve(weights[1], 2, 4))


def test_the_operator_without_kernels():
    weights = torch.randn(3, 8, 12)
    torch.library.opcheck(torch.ops.nmflow.solve.default, (weights, 2, 4))
    mask, finite = torch.ops.nmflow.solve(weights, 2, 4, "raw")
    assert torch.equal(mask, nmflow.solve(weights, 2, 4, score="raw"))
    assert bool(finite)
    mask, finite = torch.ops.nmflow.solve(torch.full((4, 4), float("nan")), 2, 4)
    assert not bool(finite)
    with pytest.raises(nmflow.NmflowError, match="at least 2 dimensions"):
        torch.ops.nmflow.solve(weights[0, 0], 2, 4)


def test_compiling_failures_warn_and_tensor_operations_go_on(on_the_host, monkeypatch):
    def refuse(*_):
        raise nmflow.NmflowError("NVRTC is missing")

    monkeypatch.setattr(launch, "kernels", refuse)
    weights = torch.randn(8, 8)
    with pytest.warns(RuntimeWarning, match="NVRTC is missing: masks by tensor operations"):
        mask = solve.solve(weights, 2, 4)
    assert torch.equal(mask, nmflow.solve(weights, 2, 4))


class _Gpu:
    compute_capability = (7, 5)

    def __init__(self, device):
        if device:
            raise RuntimeError("no such device\nand more")

    def set_current(self):
        """Nothing."""


@pytest.mark.parametrize(
    ("device", "message"),
    [(0, r"capability 7.5.*nmflow\[cuda\] need 8.0"), (1, r"no such device;.*nmflow\[cuda\]")],
)
def test_devices_that_do_not_serve_are_named_in_one_line(monkeypatch, device, message):
    monkeypatch.setattr(launch, "_core", lambda: types.SimpleNamespace(Device=_Gpu))
    with pytest.raises(nmflow.NmflowError, match=message) as caught:
        launch.kernels.__wrapped__(2, 4, "float32", False, device)
    assert "\n" not in str(caught.value)


def test_compilers_that_fail_are_named_in_one_line(monkeypatch):
    def program(*_):
        raise RuntimeError("NVRTC_ERROR_INVALID_OPTION\nlog")

    core = types.SimpleNamespace(ProgramOptions=lambda **_: None, Program=program)
    monkeypatch.setattr(launch, "_core", lambda: core)
    with pytest.raises(nmflow.NmflowError, match=r"for sm_12: NVRTC_ERR.*nmflow\[cuda\]") as caught:
        launch.compiled(2, 4, "float32", False, "sm_12")
    assert "\n" not in str(caught.value)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    assert not launch.available()
    with pytest.raises(nmflow.MissingExtraError, match=r"nmflow\[cuda\]"):
        launch.compiled(2, 4, "float32", False, "sm_90")


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_nvrtc_compiles_for_every_architecture(architecture):
    if not launch.available():
        pytest.skip("nmflow[cuda] is not installed")
    assert launch.compiled(2, 4, "bfloat16", True, architecture).code


def test_refreshes_of_an_accelerators_weights_stay_there(on_the_host, monkeypatch):
    """Without the tracker, whose proofs are in host memory."""
    for name in ("nmflow.solve", "nmflow.torch.solving.solver"):
        module = sys.modules[name]
        monkeypatch.setattr(module, "on_accelerator", lambda array: "torch")
    model = torch.nn.Linear(32, 16)
    handle = nmflow.torch.sparsify(model, 4, 8)
    assert on_the_host == [(4, 8, "float32", False)]
    with torch.no_grad():
        model.parametrizations.weight.original.copy_(torch.randn(16, 32))
    handle.refresh()
    assert len(on_the_host) == 2
    monkeypatch.undo()
    expected = nmflow.solve(model.parametrizations.weight.original, 4, 8)
    assert torch.equal(model.weight != 0, expected)
    assert handle.certify()["weight"].gap == 0
