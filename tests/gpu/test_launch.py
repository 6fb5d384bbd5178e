"""From tensors to kernels and back; where there is no CUDA, what says so."""

import ctypes
import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")

# ruff: noqa: E402

import nmflow
import nmflow.torch
import nmflow.torch.operator
from benchmarks.gpu import host_kernels
from nmflow.cuda import launch
from nmflow.cuda.problem import Matrix, Pointers, scratch_size, tables
from nmflow.device import solve


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
    assert set(on_the_host.compiled) == {(2, 4, "float32", False, False)}
    assert on_the_host.launches == [(launch.SOLVING, 1)] * 5


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
    assert on_the_host.compiled == []


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
        launch.kernels.__wrapped__(2, 4, "float32", False, False, device)
    assert "\n" not in str(caught.value)


def test_compilers_that_fail_are_named_in_one_line(monkeypatch):
    def program(*_):
        raise RuntimeError("NVRTC_ERROR_INVALID_OPTION\nlog")

    core = types.SimpleNamespace(ProgramOptions=lambda **_: None, Program=program)
    monkeypatch.setattr(launch, "_core", lambda: core)
    with pytest.raises(nmflow.NmflowError, match=r"for sm_12: NVRTC_ERR.*nmflow\[cuda\]") as caught:
        launch.compiled(2, 4, "float32", False, False, "sm_12")
    assert "\n" not in str(caught.value)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    assert not launch.available()
    with pytest.raises(nmflow.MissingExtraError, match=r"nmflow\[cuda\]"):
        launch.compiled(2, 4, "float32", False, False, "sm_90")


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_nvrtc_compiles_for_every_architecture(architecture):
    if not launch.available():
        pytest.skip("nmflow[cuda] is not installed")
    assert launch.compiled(2, 4, "bfloat16", True, False, architecture).code


class _Driver:
    """As much of cuda.bindings.driver as a launch needs; runs kernels on the host."""

    CUresult = types.SimpleNamespace(CUDA_SUCCESS=0)
    CUfunction = CUstream = int

    def __init__(self, library, status=0):
        self.library, self.status, self.launched = library, status, []

    def cuLaunchKernel(self, function, *rest):
        *sizes, stream, parameters, extra = rest
        assert extra == 0
        self.launched.append((function, sizes, stream))
        (table,) = (ctypes.c_void_p * 1).from_address(parameters)
        if function == 1:
            self.library.solve_on_host(ctypes.c_void_p(table))
        return (self.status or self.CUresult.CUDA_SUCCESS,)


@pytest.fixture
def driver(monkeypatch):
    if host_kernels.compiler() is None:
        pytest.skip("no C++ compiler")
    found = _Driver(host_kernels.library(2, 4))
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["cuda.bindings"].driver = found
    return found


def test_the_driver_gets_the_table_by_value(driver, rng):
    """As the documentation of cuda.bindings passes a structure: an array of one address."""
    weights = rng.standard_normal((1, 8, 12)).astype(np.float32)
    mask, counters = np.zeros(weights.shape, bool), np.zeros(8, np.int32)
    scratch = np.zeros(scratch_size(weights.shape, 4), np.int32)
    pointers = Pointers(*(each.ctypes.data for each in (weights, mask, counters, scratch)))
    (table,) = tables([Matrix(pointers, weights.shape, (96, 12, 1), 4)], 4, 100)
    assert ctypes.sizeof(table) <= 4096
    each = {name: types.SimpleNamespace(handle=k + 1) for k, name in enumerate(launch.SOLVING)}
    launch.launch(launch.Kernels(each, 100), launch.SOLVING, 5, table)
    assert driver.launched == [(k, [2, 1, 1, 128, 1, 1, 0], 5) for k in (1, 2, 3)]
    assert np.array_equal(mask, nmflow.solve(weights, 2, 4))
    driver.status = types.SimpleNamespace(name="CUDA_ERROR_INVALID_VALUE")
    with pytest.raises(nmflow.NmflowError, match="refuses to launch solve_all: CUDA_ERROR_INV"):
        launch.launch(launch.Kernels(each, 100), launch.SOLVING, 5, table)


@pytest.mark.parametrize(
    ("address", "strides", "itemsize", "four"),
    [
        (64, (96, 12, 1), 4, True),
        (68, (96, 12, 1), 4, False),
        (64, (96, 13, 1), 4, False),
        (64, (97, 12, 1), 4, False),
        (64, (96, 12, 2), 4, False),
        (8, (96, 12, 1), 2, True),
        (4, (96, 12, 1), 2, False),
    ],
)
def test_four_entries_are_read_at_once_only_where_a_device_can(address, strides, itemsize, four):
    matrix = Matrix(Pointers(address, 0, 0, 0), (2, 8, 12), strides, itemsize)
    (table,) = tables([matrix], 4, 10)
    assert table.each[0].vectors == four


def test_blocks_are_shared_as_tiles_are():
    matrices = [
        Matrix(Pointers(0, 0, 0, 0), shape, (1, 1, 1), 4)
        for shape in [(1, 400, 400), (1, 4, 4), (2, 100, 400), (1, 9, 9)]
    ]
    (table,) = tables(matrices, 4, 1000)
    each = [table.each[k] for k in range(table.count)]
    assert [problem.blocks for problem in each] == [666, 1, 333, 1]
    assert [problem.first_block for problem in each] == [0, 666, 667, 1000]
    assert table.blocks == 1001
    # No more than there is work for.
    (table,) = tables(matrices[1:2], 4, 1000)
    assert table.blocks == 1
