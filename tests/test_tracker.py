"""A tracker's mask is always that of a solve from nothing."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from tiles import KINDS, make

import nmflow

SIZES = [(2, 4), (4, 8), (8, 16), (16, 32)]


def cut_and_join(kind, rng, m, rows=6, across=8):
    tiles = make(kind, rng, rows * across, m, m)
    return tiles.reshape(rows, across, m, m).transpose(0, 2, 1, 3).reshape(rows * m, across * m)


def changed(rng, weights, by):
    return weights * (1 + by * rng.standard_normal(weights.shape)).astype(weights.dtype)


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
    for other in ("gaussian", kind, kind, "binary", kind):
        weights = cut_and_join(other, rng, m)
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
        ((30, 30), (-2, -1), 3, 5, "abs"),
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


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.dtype(">f4")])
@pytest.mark.parametrize(("n", "m"), [(4, 8), (16, 32), (2, 4)])
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


def test_an_interrupt_changes_nothing(rng, monkeypatch):
    if config.DISABLE_JIT:
        pytest.skip("the engine needs the compiler")
    from nmflow.methods.flow.warm_window import WarmWindow

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


@given(st.data())
def test_any_sequence_of_small_weights(data):
    tracker = nmflow.Tracker((4, 16), 2, 4)
    for _ in range(data.draw(st.integers(1, 4))):
        values = data.draw(st.lists(st.integers(-3, 3), min_size=64, max_size=64))
        weights = np.array(values, np.float32).reshape(4, 16)
        np.testing.assert_array_equal(tracker.update(weights)[0], nmflow.solve(weights, 2, 4))
