"""A tracker of weights on a device: the host's masks and counts, and nothing leaves the device."""

import copy
import pickle

import numpy as np
import pytest
from tiles import changed

torch = pytest.importorskip("torch")

import nmflow  # noqa: E402
from nmflow.cuda.launch import SOLVING  # noqa: E402
from nmflow.device import placed, tracked  # noqa: E402


class Elsewhere:
    """Which tensors are taken for a device's.

    Attributes
    ----------
    on : bool
    """

    on = True


@pytest.fixture
def elsewhere(monkeypatch):
    """Tensors of the CPU taken for such of a device."""
    where = Elsewhere()
    monkeypatch.setattr(
        placed,
        "on_accelerator",
        lambda array: "torch" if where.on and isinstance(array, torch.Tensor) else None,
    )
    return where


@pytest.fixture
def no_host(monkeypatch):
    """Nothing may go through the host."""
    monkeypatch.setattr(placed.MatrixBatch, "of", None)


@pytest.fixture(params=["kernels", "operations"])
def there(request, elsewhere):
    """A device with kernels, and one without."""
    return request.getfixturevalue("on_the_host") if request.param == "kernels" else None


def moving(rng, shape, steps=(0, 1e-4, 1e-3, 1e-1, 1.0, 1e-3)):
    weights = rng.standard_normal(shape).astype(np.float32)
    for step in steps:
        weights = changed(rng, weights, step)
        yield weights


@pytest.mark.parametrize(
    ("shape", "axes", "n", "m", "score"),
    [
        ((75, 91), (-2, -1), 4, 8, "abs"),
        ((64, 64), (-2, -1), 4, 8, "raw"),
        ((64, 64), (-2, -1), 4, 8, "square"),
        ((33, 20), (-2, -1), 2, 4, "abs"),
        ((16, 3, 24), (2, 0), 4, 8, "abs"),
        ((48, 64), (-2, -1), 8, 16, "abs"),
        ((16, 16), (-2, -1), 8, 8, "abs"),
        ((0, 8), (-2, -1), 2, 4, "abs"),
    ],
)
def test_masks_and_flips_are_those_of_a_host(there, rng, shape, axes, n, m, score):
    here = nmflow.Tracker(shape, n, m, axes=axes, score=score)
    tracker = nmflow.Tracker(shape, n, m, axes=axes, score=score)
    for weights in moving(rng, shape):
        expected, wanted = here.update(weights)
        mask, update = tracker.update(torch.from_numpy(weights))
        assert torch.equal(mask, torch.from_numpy(expected))
        assert (update.flipped, update.tiles) == (wanted.flipped, wanted.tiles)
        assert update.at_once + update.repaired == update.tiles
        np.testing.assert_array_equal(tracker.mask, expected)
    assert tracker.differing(expected) == 0
    assert nmflow.certify(
        weights, mask, n, m, axes=axes, score=score, prices=tracker.prices
    ).optimal


def test_neither_weights_nor_masks_are_copied_to_the_host(elsewhere, on_the_host, no_host, rng):
    tracker = nmflow.Tracker((64, 96), 4, 8)
    for weights in moving(rng, (64, 96)):
        before = tracker._tracked._host.mask.copy()
        tracker.refresh(torch.from_numpy(weights))
        np.testing.assert_array_equal(tracker._tracked._host.mask, before)
    assert on_the_host.launches == [(SOLVING, 1)] * 6
    assert set(on_the_host.compiled) == {(4, 8, "float32", False, True)}
    # A byte an entry, and four for each line of a tile, and for a tile.
    there = 64 * 96 + 4 * 9 * 96
    assert tracker.nbytes == nmflow.Tracker((64, 96), 4, 8).nbytes + there


def test_most_tiles_are_proved_at_once_where_little_moved(elsewhere, on_the_host, rng):
    weights = rng.standard_normal((256, 260)).astype(np.float32)
    tracker = nmflow.Tracker(weights.shape, 4, 8)
    _, first = tracker.update(torch.from_numpy(weights))
    assert first.at_once == 0
    _, update = tracker.update(torch.from_numpy(changed(rng, weights, 1e-4)))
    assert update.tiles == 32 * 33
    # What is at the edge is solved anew each time.
    assert 0.9 * 1024 < update.at_once <= 1024


def test_no_mask_that_was_handed_out_ever_changes_or_is_looked_at(there, rng):
    tracker = nmflow.Tracker((40, 56), 4, 8)
    handed, copies = [], []
    for weights in moving(rng, (40, 56)):
        mask, _ = tracker.update(torch.from_numpy(weights))
        handed.append(mask)
        copies.append(mask.clone())
    assert all(torch.equal(a, b) for a, b in zip(handed, copies, strict=True))
    handed[-1][:] = ~handed[-1]
    mask, update = tracker.update(torch.from_numpy(weights))
    assert update.flipped == 0
    assert torch.equal(mask, copies[-1])


def test_weights_may_come_and_go(there, elsewhere, rng):
    """Which side solved the last mask is nothing that a mask or a count tells."""
    tracker, here = (nmflow.Tracker((72, 88), 4, 8) for _ in range(2))
    steps = zip([1, 1, 0, 0, 1, 0, 1, 1], moving(rng, (72, 88), [1e-2] * 8), strict=True)
    for on, weights in steps:
        elsewhere.on = bool(on)
        mask, update = tracker.update(torch.from_numpy(weights))
        expected, wanted = here.update(weights)
        assert torch.equal(mask, torch.from_numpy(expected))
        assert update.flipped == wanted.flipped
        np.testing.assert_array_equal(tracker.mask, expected)
        assert nmflow.certify(weights, mask, 4, 8, prices=tracker.prices).optimal


def test_prices_of_other_weights_are_not_handed_out(there, elsewhere, rng):
    first, second = moving(rng, (64, 64), [0, 1])
    tracker = nmflow.Tracker((64, 64), 4, 8)
    tracker.update(first)
    tracker.refresh(torch.from_numpy(second))
    assert not tracker.prices.known
    tracker.update(second)
    assert tracker.prices.known


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_raises_as_ever_and_changes_nothing(there, rng, value):
    weights = torch.from_numpy(rng.standard_normal((80, 90)).astype(np.float32))
    tracker = nmflow.Tracker(weights.shape, 4, 8)
    before = tracker.update(weights)[0].clone()
    broken = torch.randn_like(weights)
    broken[77, 85] = value
    out = np.zeros((80, 90), bool)
    with pytest.raises(nmflow.NmflowError) as told:
        tracker.update(broken, out=out)
    with pytest.raises(nmflow.NmflowError) as expected:
        nmflow.Tracker((80, 90), 4, 8).update(broken.numpy())
    assert str(told.value) == str(expected.value)
    assert "index (77, 85)" in str(told.value)
    assert not out.any()
    np.testing.assert_array_equal(tracker.mask, before.numpy())
    mask, update = tracker.update(weights)
    assert update.flipped == 0
    assert torch.equal(mask, before)


def test_an_interrupt_changes_nothing(there, monkeypatch, rng):
    first, second = moving(rng, (64, 64), [0, 1])
    tracker = nmflow.Tracker((64, 64), 4, 8)
    before = tracker.update(torch.from_numpy(first))[0].numpy().copy()

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracked.torch, "count_nonzero", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tracker.update(torch.from_numpy(second))
    np.testing.assert_array_equal(tracker.mask, before)
    mask, update = tracker.update(torch.from_numpy(second))
    assert update.flipped == np.count_nonzero(before != mask.numpy())


def test_other_shapes_and_wrong_targets_raise_as_ever(there, rng):
    tracker = nmflow.Tracker((2, 3, 16, 16), 4, 8)
    with pytest.raises(nmflow.NmflowError, match=r"shape \(2, 3, 16, 16\), got \(3, 2, 16"):
        tracker.update(torch.ones(3, 2, 16, 16))
    with pytest.raises(nmflow.NmflowError, match="out is"):
        tracker.update(torch.ones(2, 3, 16, 16), out=np.zeros((16, 16), bool))
    assert not tracker.mask.any()


def test_masks_are_written_to_host_memory_where_that_is_asked_for(there, rng):
    (weights,) = moving(rng, (40, 56), [0])
    tracker = nmflow.Tracker((40, 56), 4, 8)
    out, other = np.zeros((40, 56), bool), np.zeros((40, 56), bool)
    mask, _ = tracker.update(torch.from_numpy(weights), out=out)
    assert mask is out
    tracker.write(other)
    for each in (out, other):
        np.testing.assert_array_equal(each, nmflow.solve(weights, 4, 8))
    assert tracker.differing(~out) == out.size


@pytest.mark.parametrize(
    "twin",
    [
        copy.deepcopy,
        lambda tracker: pickle.loads(pickle.dumps(tracker)),
        lambda tracker: loaded(tracker.state_dict()),
    ],
)
def test_copies_go_on_by_themselves(there, elsewhere, rng, twin):
    first, second, third = moving(rng, (64, 72), [0, 1e-3, 1e-3])
    tracker = nmflow.Tracker((64, 72), 4, 8)
    tracker.update(torch.from_numpy(first))
    tracker.update(torch.from_numpy(second))
    again = twin(tracker)
    np.testing.assert_array_equal(again.mask, tracker.mask)
    for on in (True, False):
        elsewhere.on = on
        mask, update = twin(again).update(torch.from_numpy(third))
        assert torch.equal(mask, torch.from_numpy(nmflow.solve(third, 4, 8)))
        assert update.flipped == np.count_nonzero(mask.numpy() != tracker.mask)


def loaded(state):
    tracker = nmflow.Tracker((64, 72), 4, 8)
    tracker.update(torch.ones(64, 72))
    tracker.load_state_dict(state)
    return tracker


def test_dtypes_may_change_and_what_a_device_cannot_do_goes_through_the_host(there, rng):
    weights = torch.from_numpy(rng.standard_normal((40, 56)).astype(np.float32)) * 20
    tracker = nmflow.Tracker(weights.shape, 4, 8)
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.float16, torch.float64):
        given = weights.to(dtype)
        before = tracker.mask
        mask, update = tracker.update(given)
        assert torch.equal(mask, nmflow.solve(given, 4, 8))
        assert update.flipped == np.count_nonzero(before != mask.numpy())
    wide = nmflow.Tracker((80, 80), 20, 40)
    values = torch.randn(80, 80)
    assert torch.equal(wide.update(values)[0], nmflow.solve(values, 20, 40))


def test_parameters_and_views_are_taken(there, rng):
    weights = torch.randn(56, 80, requires_grad=True)
    tracker = nmflow.Tracker((40, 56), 4, 8)
    for each in (weights.T[:40], torch.nn.Parameter(torch.randn(40, 56))):
        mask, _ = tracker.update(each)
        assert mask.is_contiguous()
        assert torch.equal(mask, nmflow.solve(each.detach(), 4, 8))
