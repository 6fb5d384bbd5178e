"""Arrays of any framework on a device: solved there, and masks of that framework come back."""

import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import nmflow  # noqa: E402
from nmflow.device import placed  # noqa: E402

CPU, CUDA, CUDA_PINNED, CUDA_MANAGED = 1, 2, 3, 13


class Array:
    """What a framework that nobody here knows exports, on any device."""

    def __init__(self, values, kind=CUDA):
        self.values, self.kind = torch.as_tensor(values), kind

    def __dlpack__(self, **options):
        if self.kind not in (CPU, CUDA_PINNED):
            raise BufferError("nobody else reads this device")
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.kind, 0


class Namespaced(Array):
    """One of the array API standard."""

    device = "cuda"

    def __array_namespace__(self):
        return types.SimpleNamespace(from_dlpack=Namespaced)


class Cupy(Array):
    """One whose framework is found by its name."""


@pytest.fixture
def cuda(monkeypatch):
    """PyTorch that reads a GPU's arrays."""
    framework = types.ModuleType("cupy_like")
    framework.from_dlpack = Cupy
    monkeypatch.setitem(sys.modules, "cupy_like", framework)
    monkeypatch.setattr(Cupy, "__module__", "cupy_like.core")
    seen = []

    def from_dlpack(array):
        seen.append(array)
        return array.values

    monkeypatch.setattr(torch, "from_dlpack", from_dlpack)
    return seen


@pytest.mark.parametrize("kind", [CUDA, CUDA_MANAGED])
@pytest.mark.parametrize("framework", [Cupy, Namespaced, Array])
def test_masks_are_of_the_weights_framework(cuda, rng, framework, kind):
    weights = rng.standard_normal((12, 20)).astype(np.float32)
    given = framework(weights, kind)
    mask = nmflow.solve(given, 2, 4)
    assert cuda == [given]
    if framework is Array:
        # It has no way back: a tensor, which exports DLPack itself.
        assert isinstance(mask, torch.Tensor)
    else:
        assert type(mask) is framework
        mask = mask.values
    assert torch.equal(mask, torch.from_numpy(nmflow.solve(weights, 2, 4)))


def test_masks_that_were_solved_there_are_of_the_weights_framework(cuda, monkeypatch, rng):
    monkeypatch.setattr(
        sys.modules["nmflow.solve"],
        "on_accelerator",
        lambda array: isinstance(array, torch.Tensor) and "torch",
    )
    weights = rng.standard_normal((12, 20)).astype(np.float32)
    monkeypatch.setattr(sys.modules["nmflow.solve"].MatrixBatch, "of", None)
    mask = nmflow.solve(Cupy(weights), 2, 4)
    assert type(mask) is Cupy
    monkeypatch.undo()
    assert torch.equal(mask.values, torch.from_numpy(nmflow.solve(weights, 2, 4)))


@pytest.mark.parametrize("options", [{"method": "greedy"}, {"unit": (2, 2)}, {"pattern": "rows"}])
def test_every_call_takes_them(cuda, rng, options):
    weights = rng.standard_normal((16, 16)).astype(np.float32)
    mask = nmflow.solve(Cupy(weights), 2, 4, **options)
    assert type(mask) is Cupy
    assert torch.equal(mask.values, torch.from_numpy(nmflow.solve(weights, 2, 4, **options)))


def test_trackers_keep_masks_of_them_where_they_are(cuda, on_the_host, monkeypatch, rng):
    monkeypatch.setattr(
        placed, "on_accelerator", lambda array: isinstance(array, torch.Tensor) and "torch"
    )
    tracker = nmflow.Tracker((16, 24), 4, 8)
    for _ in range(2):
        weights = rng.standard_normal((16, 24)).astype(np.float32)
        mask, _ = tracker.update(Cupy(weights))
        assert type(mask) is Cupy
        assert torch.equal(mask.values, torch.from_numpy(nmflow.solve(weights, 4, 8)))
        assert tracker.refresh(Cupy(weights)).flipped == 0
    assert len(cuda) == len(on_the_host.launches) == 4
    # What a device can't do comes back as theirs, too.
    mask, _ = tracker.update(Cupy(weights.astype(np.int64)))
    assert type(mask) is Cupy


@pytest.mark.parametrize("kind", [CPU, CUDA_PINNED])
def test_what_lies_in_host_memory_is_read_there(monkeypatch, rng, kind):
    monkeypatch.setattr(torch, "from_dlpack", lambda array: pytest.fail("it needs no tensor"))
    weights = rng.standard_normal((8, 8)).astype(np.float32)
    mask = nmflow.solve(Array(weights, kind), 2, 4)
    assert type(mask) is np.ndarray
    assert np.array_equal(mask, nmflow.solve(weights, 2, 4))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_without_a_device_it_says_which():
    weights = np.ones((8, 8), np.float32)
    with pytest.raises(nmflow.NmflowError, match=r"of type Array lies on CUDA device 0, .* pass a"):
        nmflow.solve(Array(weights), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="Array lies on CUDA device 0"):
        nmflow.solve(Array(weights, CUDA_MANAGED), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="Array lies on DLPack type 99 device"):
        nmflow.certify(weights, Array(weights, 99), 2, 4)


def test_without_pytorch_it_says_so_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(nmflow.NmflowError, match="CUDA device 0, which neither PyTorch nor numpy"):
        nmflow.solve(Array(np.ones((8, 8), np.float32)), 2, 4)


def test_nan_is_named(cuda):
    weights = torch.ones(8, 8)
    weights[5, 6] = float("nan")
    with pytest.raises(nmflow.NmflowError, match=r"nan at index \(5, 6\)"):
        nmflow.solve(Array(weights), 2, 4)
