"""The contract of ``solve``: method x pattern x dtype x shape, and what must not matter."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import problems
from tiles import make

import nmflow
from nmflow.problem.pattern import PATTERNS
from nmflow.problem.scores import scores_of

METHODS = [method.name for method in nmflow.methods()]
EXACT = [method.name for method in nmflow.methods() if method.exact]
# Those that leave no row or column of a full tile short.
FILLING = [*EXACT, "local-search", "entropic"]
DTYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint16", "uint64", "bool"]
SHAPES = [(8, 8), (16, 24), (3, 5), (9, 17), (2, 3, 8, 12), (1, 1), (4, 1)]


def groups_hold(mask, n, m, exactly):
    """Counts along the last axis, by code that knows nothing of tiles."""
    starts = np.arange(0, mask.shape[-1], m)
    held = np.add.reduceat(mask.astype(int), starts, axis=-1)
    whole = mask.shape[-1] // m
    return (held <= n).all() and (not exactly or (held[..., :whole] == n).all())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("method", METHODS)
def test_contract(method, pattern, dtype, shape, rng):
    if pattern != "transposable" and method not in EXACT:
        with pytest.raises(nmflow.NmflowError, match="approximate"):
            nmflow.solve(np.ones(shape, dtype), 2, 4, method, pattern=pattern)
        return
    weights = (rng.standard_normal(shape) * 10).astype(dtype)
    before = weights.copy()
    mask = nmflow.solve(weights, 2, 4, method, pattern=pattern)
    np.testing.assert_array_equal(weights, before)
    assert mask.dtype == np.bool_
    assert mask.shape == shape
    assert mask.flags.c_contiguous
    certificate = nmflow.certify(weights, mask, 2, 4, pattern=pattern)
    assert certificate.feasible
    assert certificate.optimal or method not in EXACT
    rows, columns = shape[-2:]
    if pattern in ("rows", "transposable"):
        exactly = pattern == "rows" or (rows % 4 == 0 and method in FILLING)
        assert groups_hold(mask, 2, 4, exactly)
    if pattern in ("columns", "transposable"):
        exactly = pattern == "columns" or (columns % 4 == 0 and method in FILLING)
        assert groups_hold(mask.swapaxes(-1, -2), 2, 4, exactly)
    if pattern == "unstructured":
        assert (mask.sum(axis=(-1, -2)) == round(rows * columns / 2)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["float32", "constant", "small integers", "40 decades"])
def test_outcome_does_not_depend_on_batch_workers_or_layout(method, kind, rng):
    if method == "exhaustive":
        pytest.skip("8 x 8 tiles have too many masks; its masks are those of flow")
    if method == "lp" and kind == "40 decades":
        pytest.skip("ten LPs one after another for each call")
    weights = make(kind, rng, 5, 41, 67)
    if method == "lp":
        weights = weights[:2, :, :27]
    mask = nmflow.solve(weights, 4, 8, method)
    for workers in (1, 2, 7):
        np.testing.assert_array_equal(nmflow.solve(weights, 4, 8, method, workers=workers), mask)
    for one, expected in zip(weights, mask, strict=True):
        np.testing.assert_array_equal(nmflow.solve(one, 4, 8, method), expected)
        np.testing.assert_array_equal(
            nmflow.solve(one[8:24, 16:], 4, 8, method), expected[8:24, 16:]
        )
    strided = np.zeros([2 * size for size in weights.shape])[::2, ::2, ::2]
    strided[:] = weights
    layouts = [np.asfortranarray(weights), strided, weights[..., ::-1][..., ::-1]]
    layouts.append(weights.astype(weights.dtype.newbyteorder()))
    for same in layouts:
        np.testing.assert_array_equal(nmflow.solve(same, 4, 8, method), mask)
    weights.setflags(write=False)
    np.testing.assert_array_equal(nmflow.solve(weights, 4, 8, method), mask)


def test_many_small_matrices_share_windows(rng):
    weights = rng.standard_normal((3000, 4, 8)).astype(np.float32)
    mask = nmflow.solve(weights, 2, 4)
    flat = nmflow.solve(weights.transpose(1, 0, 2).reshape(4, -1), 2, 4)
    np.testing.assert_array_equal(mask, flat.reshape(4, 3000, 8).transpose(1, 0, 2))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_axes(pattern, rng):
    weights = rng.standard_normal((16, 12, 3, 5))
    mask = nmflow.solve(weights, 2, 4, pattern=pattern, axes=(0, 1))
    for i, j in np.ndindex(3, 5):
        alone = nmflow.solve(weights[:, :, i, j], 2, 4, pattern=pattern)
        np.testing.assert_array_equal(mask[:, :, i, j], alone)
    swapped = nmflow.solve(weights, 2, 4, pattern=pattern, axes=(1, -4))
    again = nmflow.solve(weights.swapaxes(0, 1), 2, 4, pattern=pattern, axes=(0, 1))
    np.testing.assert_array_equal(swapped, again.swapaxes(0, 1))
    assert nmflow.certify(weights, mask, 2, 4, pattern=pattern, axes=(0, 1)).optimal


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (0, 0), (0, 8, 8), (3, 0, 8)])
def test_empty(pattern, shape):
    mask = nmflow.solve(np.zeros(shape), 2, 4, pattern=pattern)
    assert mask.shape == shape
    certificate = nmflow.certify(np.zeros(shape), mask, 2, 4, pattern=pattern)
    assert certificate.feasible
    assert certificate.full
    assert certificate.gap == 0


def test_ragged_edges_are_not_zero_padded():
    """The design's example: with 3:4, a 3 x 3 edge may keep all nine."""
    assert nmflow.solve(np.ones((3, 3)), 3, 4).all()
    assert nmflow.solve(np.zeros((3, 3)), 3, 4).all()


def test_raw_scores():
    negative = -np.arange(1.0, 17).reshape(4, 4)
    mask = nmflow.solve(negative, 2, 4, score="raw")
    assert (mask.sum(axis=0) == 2).all()
    assert (mask.sum(axis=1) == 2).all()
    assert not nmflow.solve(negative[:3], 2, 4, score="raw").any()
    assert nmflow.solve(negative[:3], 2, 4, score="abs").sum() == 6


@pytest.mark.parametrize("pattern", PATTERNS)
def test_square_is_the_square(pattern, rng):
    weights = rng.standard_normal((12, 18)).astype(np.float32)
    squares = weights.astype(float) ** 2
    mask = nmflow.solve(weights, 2, 4, score="square", pattern=pattern)
    np.testing.assert_array_equal(mask, nmflow.solve(squares, 2, 4, score="raw", pattern=pattern))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_squares_of_narrow_floats_are_exact(dtype, rng):
    """Of twice as many digits, which a float of the same width can't hold."""
    weights = rng.standard_normal(100).astype(dtype)
    squares = scores_of(weights, "square").tolist()
    assert squares == [Fraction(weight) ** 2 for weight in weights.tolist()]


def test_square_prefers_otherwise():
    """Three entries where |w| and w**2 want different masks."""
    weights = np.array([[5.0, 4.0], [4.0, 0.0]])

    def mask(score):
        # The method makes no difference to scores, and this one need not be compiled.
        return nmflow.solve(weights, 1, 2, "exhaustive", score=score).tolist()

    assert mask("abs") == mask("square") == [[False, True], [True, False]]
    weights[0, 0] = 7.0
    assert mask("abs") == [[False, True], [True, False]]
    assert mask("square") == [[True, False], [False, True]]


@given(problems(), st.sampled_from(["rows", "columns", "unstructured"]))
def test_selection_is_certified(problem, pattern):
    weights, n, m = problem
    weights = weights / 2.0**8
    for score in ("raw", "abs"):
        mask = nmflow.solve(weights, n, m, pattern=pattern, score=score)
        certificate = nmflow.certify(weights, mask, n, m, pattern=pattern, score=score)
        assert certificate.full
        assert certificate.optimal
        assert certificate.gap == 0


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("rows", [[1, 1, 0, 0], [1, 1, 0, 0]]),
        ("columns", [[1, 1, 1, 1], [1, 1, 1, 1]]),
        ("unstructured", [[1, 1, 1, 1], [0, 0, 0, 0]]),
    ],
)
def test_selection_keeps_the_earlier_of_equals(pattern, expected):
    mask = nmflow.solve(np.ones((2, 4)), 2, 4, pattern=pattern)
    np.testing.assert_array_equal(mask, np.array(expected, bool))


def test_one_way_keeps_at_least_as_much_as_transposable(rng):
    weights = rng.standard_normal((64, 64))
    kept = {p: np.abs(weights[nmflow.solve(weights, 4, 8, pattern=p)]).sum() for p in PATTERNS}
    assert kept["transposable"] < min(kept["rows"], kept["columns"])
    assert max(kept["rows"], kept["columns"]) < kept["unstructured"]


def test_methods_say_what_they_promise():
    for method in nmflow.methods():
        assert method.name == method.name.lower()
        assert isinstance(method.exact, bool)
        assert method.guarantee
        assert method.source
        assert method.complexity
    assert nmflow.methods()[0].name == "flow"


def test_a_method_object_is_as_good_as_its_name(rng):
    weights = rng.standard_normal((16, 16))
    for method in nmflow.methods():
        by_name = nmflow.solve(weights, 2, 4, method.name)
        np.testing.assert_array_equal(nmflow.solve(weights, 2, 4, method), by_name)


def test_workers_may_be_a_number_of_numpy(rng):
    weights = rng.standard_normal((8, 8))
    expected = nmflow.solve(weights, 2, 4)
    for two in (np.int64(2), np.uint8(2)):
        np.testing.assert_array_equal(nmflow.solve(weights, 2, 4, workers=two), expected)
        assert "workers=2)" in repr(nmflow.Tracker((8, 8), 2, 4, workers=two))
        assert nmflow.Entropic(iterations=two, sweeps=two).iterations == 2
    for wrong in (np.int64(0), np.float64(2), np.bool_(True), "2"):
        with pytest.raises(nmflow.NmflowError, match="workers must be"):
            nmflow.solve(weights, 2, 4, workers=wrong)
