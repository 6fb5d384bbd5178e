"""Arrays of any framework go in, and a mask of the same framework and device comes out."""

import numpy as np
import pytest

import nmflow
from nmflow.problem.arrays import to_host

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

EXPECTED = np.random.default_rng(5).standard_normal((16, 24)).astype(np.float32)


def expected_mask(values):
    return nmflow.solve(np.asarray(values, np.float64), 4, 8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int64"])
def test_torch(dtype):
    weights = (torch.from_numpy(EXPECTED) * 20).to(getattr(torch, dtype))
    if weights.is_floating_point():
        weights.requires_grad_()
    mask = nmflow.solve(weights, 4, 8)
    assert isinstance(mask, torch.Tensor)
    assert mask.dtype is torch.bool
    assert mask.device == weights.device
    assert mask.shape == weights.shape
    np.testing.assert_array_equal(mask.numpy(), expected_mask(weights.detach().double().numpy()))
    assert nmflow.certify(weights, mask, 4, 8).optimal


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int8", "int32"])
def test_jax(dtype):
    weights = (jax.numpy.asarray(EXPECTED) * 20).astype(dtype)
    mask = nmflow.solve(weights, 4, 8)
    assert isinstance(mask, jax.Array)
    assert mask.dtype == bool
    assert mask.devices() == weights.devices()
    np.testing.assert_array_equal(mask, expected_mask(weights.astype("float32")))
    assert nmflow.certify(weights, mask, 4, 8).optimal


def test_no_weights_are_copied_on_the_cpu():
    tensor = torch.from_numpy(EXPECTED.copy())
    assert np.shares_memory(to_host(tensor).values, tensor.numpy())
    half = tensor.to(torch.bfloat16)
    assert np.shares_memory(to_host(half).values, half.view(torch.int16).numpy())
    array = jax.numpy.asarray(EXPECTED)
    assert np.shares_memory(to_host(array).values, np.from_dlpack(array))


def test_torch_parameters_views_and_flags():
    layer = torch.nn.Linear(24, 16)
    mask = nmflow.solve(layer.weight, 4, 8)
    assert not mask.requires_grad
    transposed = nmflow.solve(layer.weight.T, 4, 8)
    assert nmflow.certify(layer.weight.T, transposed, 4, 8).optimal
    negative = torch._neg_view(layer.weight.detach())
    assert torch.equal(nmflow.solve(negative, 4, 8), mask)
    conv = torch.nn.Conv2d(8, 16, 3)
    assert nmflow.solve(conv.weight, 2, 4, axes=(0, 1)).shape == conv.weight.shape


def test_a_view_that_negates():
    """Of bfloat16, whose bits are looked at, and in raw scores, where the sign counts."""
    weights = torch.from_numpy(EXPECTED.copy())
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        plain = -weights.to(dtype)
        view = torch._neg_view(weights.to(dtype))
        mask = nmflow.solve(view, 2, 4, "exhaustive", score="raw")
        assert torch.equal(mask, nmflow.solve(plain, 2, 4, "exhaustive", score="raw"))
        assert nmflow.certify(view, mask, 2, 4, score="raw").optimal


@pytest.mark.parametrize("left", [0, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tensor_whose_storage_was_freed(left, dtype):
    """As FSDP leaves parameters; to read it would end the process."""
    weights = torch.nn.Parameter(torch.ones(8, 8, dtype=dtype))
    view = weights.detach()[2:, 4:]
    weights.untyped_storage().resize_(left)
    tracker = nmflow.Tracker((8, 8), 2, 4)
    for call in (
        lambda: nmflow.solve(weights, 2, 4),
        lambda: nmflow.solve(view, 2, 4),
        lambda: nmflow.certify(weights, np.ones((8, 8), bool), 2, 4),
        lambda: tracker.update(weights),
    ):
        with pytest.raises(nmflow.NmflowError, match=rf"storage holds {left} of the"):
            call()


def test_a_mask_whose_storage_was_freed():
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask.untyped_storage().resize_(0)
    with pytest.raises(nmflow.NmflowError, match=r"mask .* storage holds 0 of the 64"):
        nmflow.certify(np.ones((8, 8)), mask, 2, 4)
    with pytest.raises(nmflow.NmflowError, match=r"out .* storage holds 0 of the 64"):
        nmflow.Tracker((8, 8), 2, 4).update(np.ones((8, 8)), out=mask)


def test_a_view_of_the_end_of_a_storage_and_an_empty_tensor():
    """Neither needs more than there is."""
    whole = torch.from_numpy(EXPECTED.copy())
    assert nmflow.solve(whole[8:, 16:], 4, 8).shape == (8, 8)
    assert nmflow.solve(whole.T[::2, 1:], 4, 8).shape == (12, 15)
    empty = torch.ones(0, 8)
    empty.untyped_storage().resize_(0)
    assert nmflow.solve(empty, 2, 4).shape == (0, 8)


def test_what_torch_offers_and_nmflow_cannot_use():
    with pytest.raises(nmflow.NmflowError, match="dense tensor"):
        nmflow.solve(torch.eye(8).to_sparse(), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="meta"):
        nmflow.solve(torch.empty(8, 8, device="meta"), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="complex64"):
        nmflow.solve(torch.zeros(8, 8, dtype=torch.complex64), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="float8"):
        nmflow.solve(torch.zeros(8, 8).to(torch.float8_e4m3fn), 2, 4)
    bad = torch.ones(8, 8, dtype=torch.bfloat16)
    bad[2, 3] = float("nan")
    with pytest.raises(nmflow.NmflowError, match=r"bfloat16.* nan at index \(2, 3\)"):
        nmflow.solve(bad, 2, 4)


def test_a_traced_value_is_refused_where_the_host_would_be_needed():
    with pytest.raises(nmflow.NmflowError, match="traced JAX value"):
        jax.jit(lambda w: nmflow.solve(w, 2, 4, unit=(1, 2)))(jax.numpy.ones((8, 8)))
    with pytest.raises(nmflow.NmflowError, match="traced JAX value"):
        jax.jit(lambda w: nmflow.certify(w, w > 0, 2, 4))(jax.numpy.ones((8, 8)))


def test_numpy_bfloat16():
    values = EXPECTED.astype(jax.numpy.bfloat16)
    mask = nmflow.solve(values, 4, 8)
    assert type(mask) is np.ndarray
    np.testing.assert_array_equal(mask, expected_mask(values.astype(np.float32)))
    with pytest.raises(nmflow.NmflowError, match="float8"):
        nmflow.solve(EXPECTED.astype(jax.numpy.float8_e4m3fn), 4, 8)


class OnlyDlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnlyArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


class Namespaced(OnlyArray):
    device = "cpu"

    def __array_namespace__(self):
        return Namespace


class Namespace:
    @staticmethod
    def asarray(values, device):
        assert device == "cpu"
        return Namespaced(values)


class RefusingDlpack(OnlyArray):
    def __dlpack__(self, **_):
        raise BufferError("not this dtype")

    def __dlpack_device__(self):
        return (1, 0)


@pytest.mark.parametrize("wrap", [OnlyDlpack, OnlyArray, RefusingDlpack, lambda a: a.tolist()])
def test_other_arrays_give_a_numpy_mask(wrap):
    mask = nmflow.solve(wrap(EXPECTED), 4, 8)
    assert type(mask) is np.ndarray
    np.testing.assert_array_equal(mask, expected_mask(EXPECTED))


def test_an_array_api_namespace_makes_its_own_mask():
    mask = nmflow.solve(Namespaced(EXPECTED), 4, 8)
    assert isinstance(mask, Namespaced)
    np.testing.assert_array_equal(mask.array, expected_mask(EXPECTED))


def test_frameworks_may_be_mixed_in_certify():
    mask = nmflow.solve(EXPECTED, 4, 8)
    assert nmflow.certify(torch.from_numpy(EXPECTED), mask, 4, 8).optimal
    assert nmflow.certify(EXPECTED, torch.from_numpy(mask).float(), 4, 8).optimal
    assert nmflow.certify(EXPECTED, mask.tolist(), 4, 8).optimal
