"""A tracker's mask is always that of a solve from nothing."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from tiles import KINDS, changed, cut_and_join, narrowed

import nmflow

SIZES = [(2, 4), (4, 8), (8, 16), (16, 32)]


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_follows_weights_that_drift_and_jump(n, m, rng):
    weights = rng.standard_normal((9 * m + 3, 11 * m + 1)).astype(np.float32)
    tracker = nmflow.Tracker(weights.shape, n, m)
    before = np.zeros(weights.shape, bool)
    steps = [0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e-3, 0, "shrink", 1e-3, "grow", "zero", "new", 1e-3]
    for step in steps:
        if step == "new":
            weights = rng.standard_normal(weights.shape).astype(np.float32)
        else:
            factor = {"shrink": 3e-7, "grow": 1e12, "zero": 0.0}.get(step)
            weights = (
                weights * np.float32(factor) if factor is not None else changed(rng, weights, step)
            )
        mask, update = tracker.update(weights)
        np.testing.assert_array_equal(mask, nmflow.solve(weights, n, m), err_msg=str(step))
        assert update.flipped == np.count_nonzero(mask != before)
        assert update.at_once + update.repaired == update.tiles == 10 * 12
        before = mask.copy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_all_kinds_of_tiles_one_after_the_other(kind, n, m, rng):
    tracker = nmflow.Tracker((6 * m, 8 * m), n, m)
    dtype = np.float64 if m <= 8 else np.float32
    for other in ("gaussian", kind, kind, "binary", kind):
        weights = narrowed(cut_and_join(other, rng, m), dtype)
        mask, _ = tracker.update(weights)
        np.testing.assert_array_equal(mask, nmflow.solve(weights, n, m))


def test_dtypes_layouts_and_frameworks_may_change(rng):
    torch = pytest.importorskip("torch")
    weights = rng.standard_normal((2, 40, 56)).astype(np.float32)
    tracker = nmflow.Tracker(weights.shape, 4, 8)
    for form in (
        weights,
        weights.astype(np.float64),
        np.asfortranarray(weights),
        weights.astype(np.float16),
        (weights * 20).astype(np.int8),
        weights.astype(">f4"),
        torch.from_numpy(weights).bfloat16(),
        weights.tolist(),
    ):
        mask, _ = tracker.update(form)
        assert type(mask) is (torch.Tensor if isinstance(form, torch.Tensor) else np.ndarray)
        np.testing.assert_array_equal(np.asarray(mask), np.asarray(nmflow.solve(form, 4, 8)))


@pytest.mark.parametrize(
    ("shape", "axes", "n", "m", "score"),
    [
        ((16, 24, 3, 3), (0, 1), 2, 4, "abs"),
        ((30, 30), (-2, -1), 2, 3, "abs"),
        ((48, 40), (-2, -1), 4, 8, "raw"),
        ((48, 40), (-2, -1), 4, 8, "square"),
        ((20, 8), (0, 1), 4, 8, "abs"),
        ((8, 8), (0, 1), 4, 4, "abs"),
        ((0, 8), (0, 1), 2, 4, "abs"),
        ((80, 96), (0, 1), 20, 40, "abs"),
    ],
)
def test_other_problems(shape, axes, n, m, score, rng):
    tracker = nmflow.Tracker(shape, n, m, axes=axes, score=score, workers=2)
    weights = rng.standard_normal(shape)
    for _ in range(3):
        mask, _ = tracker.update(weights)
        expected = nmflow.solve(weights, n, m, axes=axes, score=score)
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(tracker.mask, expected)
        weights = changed(rng, weights, 1e-3)


def test_many_windows_and_threads(rng):
    weights = rng.standard_normal((1600, 1500)).astype(np.float32)
    trackers = [nmflow.Tracker(weights.shape, 8, 16, workers=w) for w in (1, 2, 3)]
    for _ in range(3):
        masks, updates = zip(*(t.update(weights) for t in trackers), strict=True)
        assert len({u.flipped for u in updates}) == len({u.at_once for u in updates}) == 1
        for mask in masks:
            np.testing.assert_array_equal(mask, nmflow.solve(weights, 8, 16))
        weights = changed(rng, weights, 1e-3)


def test_most_tiles_need_little_where_weights_change_little(rng):
    weights = rng.standard_normal((512, 512)).astype(np.float32)
    if config.DISABLE_JIT:
        pytest.skip("the engine needs the compiler")
    for n, m, least in ((4, 8, 0.85), (8, 16, 0.7), (16, 32, 0.4)):
        tracker = nmflow.Tracker(weights.shape, n, m)
        tracker.update(weights)
        for _ in range(4):
            _, update = tracker.update(changed(rng, weights, 1e-4))
        assert update.at_once > least * update.tiles
        # The mask, a float32 potential for each row and column, and the mask again as bits.
        assert tracker.nbytes < (1 + 8 / m + 0.25) * weights.size


@pytest.mark.parametrize(
    ("n", "m", "dtype"),
    [
        *((4, 8, dtype) for dtype in (np.float32, np.float16, np.float64, np.dtype(">f4"))),
        (16, 32, np.float32),
        (2, 4, np.float32),
    ],
)
def test_weights_that_are_not_finite_change_nothing(n, m, dtype, rng):
    """Found when nearly all masks are solved."""
    weights = rng.standard_normal((80, 90)).astype(dtype)
    tracker = nmflow.Tracker(weights.shape, n, m)
    before = tracker.update(weights)[0].copy()
    for value in (np.nan, np.inf, -np.inf):
        broken = changed(rng, weights, 1.0)
        broken[77, 85] = value
        with pytest.raises(nmflow.NmflowError, match=r"at index \(77, 85\)"):
            tracker.update(broken)
        np.testing.assert_array_equal(tracker.mask, before)
        mask, update = tracker.update(weights)
        assert update.flipped == 0
        np.testing.assert_array_equal(mask, before)


def test_an_interrupt_changes_nothing(rng, monkeypatch):
    if config.DISABLE_JIT:
        pytest.skip("the engine needs the compiler")
    from nmflow.solvers.flow.warm_window import WarmWindow

    weights = rng.standard_normal((1600, 1500)).astype(np.float32)
    tracker = nmflow.Tracker(weights.shape, 4, 8, workers=1)
    before = tracker.update(weights)[0].copy()
    work, calls = WarmWindow.update, []

    def update(box, *args):
        calls.append(box)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return work(box, *args)

    with monkeypatch.context() as patch:
        patch.setattr(WarmWindow, "update", update)
        with pytest.raises(KeyboardInterrupt):
            tracker.update(changed(rng, weights, 1.0))
    np.testing.assert_array_equal(tracker.mask, before)
    assert tracker.update(weights)[1].flipped == 0


def test_without_the_compiler():
    """The tracker then solves anew each time."""
    code = """
import numpy as np, nmflow
weights = np.random.default_rng(0).standard_normal((9, 17))
tracker = nmflow.Tracker(weights.shape, 2, 4)
for _ in range(2):
    assert (tracker.update(weights)[0] == nmflow.solve(weights, 2, 4)).all()
"""
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_wrong_use():
    with pytest.raises(nmflow.NmflowError, match="2 dimensions"):
        nmflow.Tracker((8,), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="axes"):
        nmflow.Tracker((8, 8), 2, 4, axes=(0, 2))
    with pytest.raises(nmflow.NmflowError, match="score"):
        nmflow.Tracker((8, 8), 2, 4, score="l1")
    with pytest.raises(nmflow.NmflowError, match="workers"):
        nmflow.Tracker((8, 8), 2, 4, workers=0)
    tracker = nmflow.Tracker((8, 16), 2, 4)
    with pytest.raises(nmflow.NmflowError, match=r"shape \(8, 16\), got \(16, 8\)"):
        tracker.update(np.ones((16, 8)))
    for other in (nmflow.Tracker((8, 16), 1, 4), nmflow.Tracker((8, 32), 2, 4)):
        with pytest.raises(nmflow.NmflowError, match="state of another tracker"):
            tracker.load_state_dict(other.state_dict())
    state = tracker.state_dict()
    del state["mask"]
    with pytest.raises(nmflow.NmflowError, match="mask"):
        tracker.load_state_dict(state)
    with pytest.raises(ValueError, match="read-only"):
        tracker.mask[0, 0] = False


@given(st.data())
def test_any_sequence_of_small_weights(data):
    tracker = nmflow.Tracker((4, 16), 2, 4)
    for _ in range(data.draw(st.integers(1, 4))):
        values = data.draw(st.lists(st.integers(-3, 3), min_size=64, max_size=64))
        weights = np.array(values, np.float32).reshape(4, 16)
        np.testing.assert_array_equal(tracker.update(weights)[0], nmflow.solve(weights, 2, 4))
