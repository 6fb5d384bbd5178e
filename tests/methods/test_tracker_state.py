"""A tracker's state: saved, copied, pickled, and never taken for a proof it is not."""

import copy
import pickle

import numpy as np
import pytest
from numba import config
from tiles import changed, cut_and_join

import nmflow


def test_saved_and_loaded_goes_on_as_if_nothing_happened(rng):
    weights = rng.standard_normal((130, 140)).astype(np.float32)
    tracker = nmflow.Tracker(weights.shape, 4, 8)
    tracker.update(weights)
    again = nmflow.Tracker(weights.shape, 4, 8)
    again.load_state_dict(tracker.state_dict())
    np.testing.assert_array_equal(again.mask, tracker.mask)
    weights = changed(rng, weights, 1e-3)
    (first, one), (second, other) = tracker.update(weights), again.update(weights)
    np.testing.assert_array_equal(first, second)
    assert (one.flipped, one.at_once) == (other.flipped, other.at_once)


def test_a_state_may_hold_anything_and_only_cost_time(rng):
    """Potentials are hints: noise in a checkpoint must not reach the mask."""
    weights = rng.standard_normal((64, 64)).astype(np.float32)
    tracker = nmflow.Tracker(weights.shape, 4, 8)
    state = tracker.state_dict()
    for name, part in state.items():
        if name.endswith((".u", ".v")):
            part[:] = rng.standard_normal(part.shape)
            part[::97] = np.nan
            part[50::97] = 3e38
        if name.endswith(".warm"):
            part[:] = True
    state["mask"][:] = rng.integers(0, 256, state["mask"].shape)
    tracker.load_state_dict(state)
    mask, _ = tracker.update(weights)
    np.testing.assert_array_equal(mask, nmflow.solve(weights, 4, 8))


def test_a_state_whose_potentials_do_not_add_exactly_proves_nothing(rng):
    """Rounded sums seem to separate a mask that is not optimal."""
    n, m, across = 8, 16, 6
    if config.DISABLE_JIT:
        pytest.skip("the engine needs the compiler")
    tracker = nmflow.Tracker((m, across * m), n, m)
    state = tracker.state_dict()
    u, v = (
        (rng.random((across, m)) * 2.0 ** rng.integers(-9, 3, (across, m))).astype(np.float32)
        for _ in range(2)
    )
    mask = cut_and_join("gaussian", rng, m, 1, across)
    mask = nmflow.solve(mask, n, m)
    bound = (u[:, :, None] + v[:, None, :]).transpose(1, 0, 2).reshape(m, -1)
    weights = np.where(mask, np.nextafter(bound, np.float32(np.inf)), bound)
    assert np.all((weights > bound) == mask)
    assert not np.array_equal(mask, nmflow.solve(weights, n, m))
    state["0.u"][:], state["0.v"][:], state["0.warm"][:] = u.ravel(), v.ravel(), True
    state["mask"] = np.packbits(mask)
    tracker.load_state_dict(state)
    np.testing.assert_array_equal(tracker.update(weights)[0], nmflow.solve(weights, n, m))


@pytest.mark.parametrize(("n", "m"), [(4, 8), (8, 16)])
def test_what_no_mask_was_kept_of_is_not_taken_for_proved(n, m, rng):
    """An empty mask separates zeros from potentials above 0, but holds too few."""
    zeros = np.zeros((20 * m, 32), np.float32)
    expected = nmflow.solve(zeros, n, m)
    tracker = nmflow.Tracker(zeros.shape, n, m)
    broken = rng.standard_normal(zeros.shape).astype(np.float32)
    broken[-1, -1] = np.nan
    with pytest.raises(nmflow.NmflowError):
        tracker.update(broken)
    np.testing.assert_array_equal(tracker.update(zeros)[0], expected)
    tracker = nmflow.Tracker(zeros.shape, n, m)
    state = tracker.state_dict()
    for name in state:
        if name.endswith(".warm"):
            state[name][:] = True
    tracker.load_state_dict(state)
    np.testing.assert_array_equal(tracker.update(zeros)[0], expected)


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, copy.copy, lambda t: pickle.loads(pickle.dumps(t))]
)
def test_a_copy_goes_on_by_itself(twin, rng):
    weights = rng.standard_normal((130, 140)).astype(np.float32)
    tracker = nmflow.Tracker(weights.shape, 4, 8, workers=2)
    tracker.update(weights)
    before = tracker.mask
    again = twin(tracker)
    assert repr(again) == repr(tracker)
    np.testing.assert_array_equal(again.mask, before)
    weights = changed(rng, weights, 1e-3)
    (first, one) = again.update(weights)
    np.testing.assert_array_equal(tracker.mask, before)
    (second, other) = tracker.update(weights)
    np.testing.assert_array_equal(first, second)
    assert (one.flipped, one.at_once) == (other.flipped, other.at_once)


def test_its_repr_says_what_it_is_for():
    tracker = nmflow.Tracker((16, 24, 3), 2, 4, axes=(0, 1), score="raw")
    assert repr(tracker) == (
        "Tracker(shape=(16, 24, 3), n=2, m=4, axes=(0, 1), score='raw', workers=None)"
    )
