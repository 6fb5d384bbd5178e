"""Masks that a tracker hands out, or writes where the caller wants them."""

import numpy as np
import pytest
from tiles import changed

import nmflow

FRAMEWORKS = ["numpy", "torch", "bfloat16", "jax"]


def as_framework(weights, name):
    if name == "jax":
        return pytest.importorskip("jax").numpy.asarray(weights)
    if name == "numpy":
        return weights
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(weights)
    return tensor.bfloat16() if name == "bfloat16" else tensor


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_no_mask_that_was_handed_out_ever_changes(framework, axes, rng):
    tracker = nmflow.Tracker((40, 56), 4, 8, axes=axes)
    handed, copies = [], []
    for _ in range(4):
        weights = as_framework(rng.standard_normal((40, 56)).astype(np.float32), framework)
        mask, _ = tracker.update(weights)
        handed += [mask, tracker.mask]
        copies += [np.asarray(mask).copy()] * 2
        np.testing.assert_array_equal(tracker.mask, copies[-1])
    for mask, copy_ in zip(handed, copies, strict=True):
        np.testing.assert_array_equal(np.asarray(mask), copy_)


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_editing_a_mask_changes_no_later_one(framework, rng):
    """Where nothing seems to have changed the tracker writes nothing."""
    weights = as_framework(rng.standard_normal((64, 64)).astype(np.float32), framework)
    expected = np.asarray(nmflow.solve(weights, 4, 8)).copy()
    tracker = nmflow.Tracker((64, 64), 4, 8)
    out = np.empty((64, 64), bool)
    for _ in range(3):
        mask, update = tracker.update(weights)
        mask[:] = ~mask
        tracker.update(weights, out=out)
        out[:] = ~out
    assert update.flipped == 0
    np.testing.assert_array_equal(np.asarray(tracker.update(weights)[0]), expected)


@pytest.mark.parametrize("axes", [(-2, -1), (0, 1)])
def test_a_mask_may_be_written_where_the_caller_wants_it(axes, rng):
    torch = pytest.importorskip("torch")
    shape = (16, 24, 3) if axes == (0, 1) else (3, 16, 24)
    tracker = nmflow.Tracker(shape, 4, 8, axes=axes)
    before = np.zeros(shape, bool)
    for out in (
        np.empty(shape, bool),
        np.empty(shape, bool, order="F"),
        np.empty((6, *shape[1:]), bool)[::2] if axes == (-2, -1) else np.empty(shape, bool),
        torch.empty(shape, dtype=torch.bool),
        torch.empty(shape[::-1], dtype=torch.bool).permute(2, 1, 0),
        torch.nn.Parameter(torch.empty(shape, dtype=torch.bool), requires_grad=False),
    ):
        weights = rng.standard_normal(shape)
        mask, update = tracker.update(torch.from_numpy(weights), out=out)
        assert mask is out
        expected = nmflow.solve(weights, 4, 8, axes=axes)
        np.testing.assert_array_equal(np.asarray(out), expected)
        assert update.flipped == np.count_nonzero(expected != before)
        before = expected


def test_where_no_mask_can_be_written(rng):
    torch = pytest.importorskip("torch")
    tracker = nmflow.Tracker((8, 16), 2, 4)
    weights = rng.standard_normal((8, 16))
    read_only = np.empty((8, 16), bool)
    read_only.flags.writeable = False
    for out, message in (
        (read_only, "read-only"),
        (torch.empty(1, 16, dtype=torch.bool).expand(8, 16), "share memory"),
        (np.empty((16, 8), bool), r"shape \(16, 8\).*of shape \(8, 16\)"),
        (np.empty((8, 16), np.uint8), "uint8"),
        (torch.empty(8, 16), "float32"),
        (torch.empty(8, 16, dtype=torch.bool, device="meta"), "bool array"),
        ([[True] * 16] * 8, "list"),
    ):
        with pytest.raises(nmflow.NmflowError, match=f"out.*{message}"):
            tracker.update(weights, out=out)
    assert not tracker.mask.any()


def test_out_stays_as_it_was_where_weights_are_not_finite(rng):
    weights = rng.standard_normal((40, 40))
    out = np.ones((40, 40), bool)
    weights[30, 30] = np.nan
    with pytest.raises(nmflow.NmflowError, match="nan"):
        nmflow.Tracker((40, 40), 4, 8).update(weights, out=out)
    assert out.all()


def test_refresh_makes_no_array(rng):
    weights = rng.standard_normal((40, 56)).astype(np.float32)
    one, other = nmflow.Tracker(weights.shape, 4, 8), nmflow.Tracker(weights.shape, 4, 8)
    for _ in range(3):
        mask, update = one.update(weights)
        refreshed = other.refresh(weights)
        np.testing.assert_array_equal(other.mask, mask)
        assert (refreshed.flipped, refreshed.at_once) == (update.flipped, update.at_once)
        weights = changed(rng, weights, 1e-3)
    with pytest.raises(nmflow.NmflowError, match="shape"):
        other.refresh(weights.T)
