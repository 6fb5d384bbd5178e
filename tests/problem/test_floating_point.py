"""Masks and proofs are the same whatever the floating-point mode of the calling thread."""

import ctypes
import sys
import threading

import numpy as np
import pytest

import nmflow
from nmflow.problem import floating_point
from nmflow.problem.floating_point import is_standard, standard_arithmetic
from nmflow.problem.workers import run_all

# Subnormal, so that flushing makes them all zeros.
WEIGHTS = np.random.default_rng(1).standard_normal((4, 8)) * 1e-310
# The same in units of the least number, which no mode can touch.
WHOLE = np.abs(WEIGHTS).view(np.int64)
METHODS = ["flow", "network-simplex", "exhaustive", "greedy", "greedy-keep", "local-search"]


@pytest.fixture
def flush_subnormals():
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor can't flush subnormals")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@pytest.fixture(params=[1, 2, 3])
def round_otherwise(request):
    """Rounding towards zero, upwards and downwards, as x86 and ARM number them."""
    if sys.platform == "win32":
        pytest.skip("no <fenv.h> to call")
    library = ctypes.CDLL(None)
    standard = library.fegetround()
    for step in (0x400, 0x400000):
        if library.fesetround(request.param * step) == 0:
            break
    else:
        pytest.skip("the numbers of rounding modes are not known here")
    try:
        yield
    finally:
        library.fesetround(standard)


def test_the_standard_mode_is_known():
    assert is_standard()


def test_flushing_is_noticed_and_put_back(flush_subnormals):
    assert not is_standard()
    assert standard_arithmetic(is_standard)()
    assert not is_standard()


def test_rounding_is_noticed_and_put_back(round_otherwise):
    assert not is_standard()
    assert standard_arithmetic(is_standard)()
    assert not is_standard()


def test_an_error_puts_the_mode_back(flush_subnormals):
    with pytest.raises(nmflow.NmflowError, match="n:m"):
        nmflow.solve(WEIGHTS, 5, 4)
    assert not is_standard()


def test_threads_inherit_the_mode(flush_subnormals):
    found = []
    all_here = threading.Barrier(3)

    def work(_):
        all_here.wait(60)
        found.append((threading.get_ident(), is_standard()))

    standard_arithmetic(run_all)(work, range(3), 3)
    assert len(set(found)) == 3
    assert all(standard for _, standard in found)


@pytest.mark.parametrize("method", METHODS)
def test_masks_of_subnormal_weights(method, flush_subnormals):
    expected = nmflow.solve(WHOLE, 2, 4, method)
    np.testing.assert_array_equal(nmflow.solve(WEIGHTS, 2, 4, method), expected)


def test_proofs_of_subnormal_weights(flush_subnormals):
    """Were all of them taken for zeros, any mask would be optimal."""
    best = nmflow.solve(WHOLE, 2, 4)
    certificate = nmflow.certify(WEIGHTS, ~best, 2, 4)
    assert not certificate.optimal
    assert certificate.gap > 0
    assert nmflow.certify(WEIGHTS, best, 2, 4).optimal


@pytest.mark.parametrize("pattern", ["rows", "columns", "unstructured"])
def test_other_patterns_of_subnormal_weights(pattern, flush_subnormals):
    mask = nmflow.solve(WEIGHTS, 2, 4, pattern=pattern)
    np.testing.assert_array_equal(mask, nmflow.solve(WHOLE, 2, 4, pattern=pattern))
    assert not nmflow.certify(WEIGHTS, ~mask, 2, 4, pattern=pattern).optimal


def test_trackers_of_subnormal_weights(flush_subnormals):
    tracker = nmflow.Tracker(WEIGHTS.shape, 2, 4)
    expected = nmflow.solve(WHOLE, 2, 4)
    np.testing.assert_array_equal(tracker.update(WEIGHTS)[0], expected)
    tracker.refresh(-WEIGHTS[::-1])
    np.testing.assert_array_equal(tracker.mask, nmflow.solve(WEIGHTS[::-1], 2, 4))


def test_a_mode_that_can_not_be_changed_is_an_error(flush_subnormals, monkeypatch):
    monkeypatch.setattr(floating_point, "_make_standard", lambda: lambda: None)
    with pytest.raises(nmflow.NmflowError, match="set_flush_denormal"):
        nmflow.solve(WEIGHTS, 2, 4)
    with pytest.raises(nmflow.NmflowError, match="subnormal"):
        nmflow.certify(WEIGHTS, WEIGHTS > 0, 2, 4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("score", ["abs", "square", "raw"])
def test_callers_who_have_numpy_raise(method, score, rng):
    """In this thread: those that a call starts report as numpy does by default."""
    weights = rng.standard_normal((4, 8)) * np.where(np.arange(8) % 5 == 4, 1e-310, 1.0)
    for values in (weights, weights * 1e-200, weights * 1e-310):
        with np.errstate(all="raise"):
            mask = nmflow.solve(values, 2, 4, method, score=score, workers=1)
            certificate = nmflow.certify(values, mask, 2, 4, score=score)
            assert np.geterr()["under"] == "raise"
        np.testing.assert_array_equal(mask, nmflow.solve(values, 2, 4, method, score=score))
        assert certificate == nmflow.certify(values, mask, 2, 4, score=score)


def test_trackers_of_callers_who_have_numpy_raise(rng):
    weights = rng.standard_normal((8, 16)).astype(np.float32) * np.float32(1e-40)
    with np.errstate(all="raise"):
        tracker = nmflow.Tracker(weights.shape, 4, 8)
        for _ in range(2):
            mask, _ = tracker.update(weights)
            tracker.load_state_dict(tracker.state_dict())
    np.testing.assert_array_equal(mask, nmflow.solve(weights, 4, 8))


def test_the_signature_and_the_words_stay():
    assert "weights" in nmflow.solve.__annotations__
    assert nmflow.solve.__doc__.startswith("The n:m mask")
