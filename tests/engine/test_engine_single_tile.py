"""Tiles of few values are finished by the engine, and the scalar fallback is hardly asked."""

from fractions import Fraction

import numba
import numpy as np
import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from test_engine import cut, seeded

import nmflow
from nmflow.simd.tile_shape import tile_shape
from nmflow.solvers.flow.method import solve_tiles
from nmflow.solvers.flow.simd_engine import driver
from nmflow.solvers.flow.simd_engine.scale import MANY_DIGITS, scan_digits

FEW_VALUES = {
    "binary": lambda rng, shape: rng.integers(0, 2, shape),
    "four values": lambda rng, shape: rng.integers(0, 4, shape),
    "constant": lambda rng, shape: np.ones(shape),
    "mostly zero": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.2),
}


@pytest.mark.parametrize(("n", "m"), [(4, 8), (8, 16), (16, 32)])
@pytest.mark.parametrize("kind", FEW_VALUES)
def test_few_tiles_are_unproved_and_the_others_are_right(kind, n, m):
    """Without augmentation up to three in four of these tiles are left."""
    rows, columns = 8 * m, 16 * m
    matrix = FEW_VALUES[kind](seeded(kind, n, m), (rows, columns)).astype(np.float32)
    mask = np.zeros((1, rows, columns), np.bool_)
    shape = tile_shape(n, m)
    box = slice(0, 1), slice(0, rows), slice(0, columns)
    unproved = driver.solve_box(matrix[None], mask, box, shape, signed=False)
    tiles = 128
    assert len(unproved.position) * shape.tiles <= 0.1 * tiles
    expected = solve_tiles(np.abs(cut(matrix, m)).astype(np.float64), n, True)
    proved = np.ones((rows, columns), np.bool_)
    proved.reshape(-1)[driver.entries(unproved, columns, shape)] = False
    proved = cut(proved, m).all(axis=(1, 2))
    np.testing.assert_array_equal(cut(mask[0], m)[proved], expected[proved])


@pytest.mark.parametrize(("n", "m", "most"), [(2, 4, 1), (4, 8, 5), (8, 16, 0)])
def test_continuous_tiles_hardly_leave_the_engine(n, m, most):
    """A single tile that does costs as much as many batches."""
    matrix = seeded("continuous", n, m).random((1024, 1024), np.float32)
    mask = np.zeros((1, *matrix.shape), np.bool_)
    box = slice(0, 1), slice(0, 1024), slice(0, 1024)
    unproved = driver.solve_box(matrix[None], mask, box, tile_shape(n, m), signed=False)
    assert len(unproved.position) <= most


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_ties_beside_scores_of_more_digits_than_fit(share):
    """Zeros and ones tie; some ones, and some zeros, are larger by less than a unit."""
    n, m = 8, 16
    rng = seeded("a little more than one")
    matrix = rng.integers(0, 2, (16 * m, 32 * m)).astype(np.float32)
    more = (matrix > 0) & (rng.random(matrix.shape) < share)
    matrix[more] += rng.integers(1, 9, more.sum()).astype(np.float32) * np.float32(2.0**-20)
    more = (matrix == 0) & (rng.random(matrix.shape) < share)
    matrix[more] = rng.integers(1, 9, more.sum()).astype(np.float32) * np.float32(2.0**-40)
    expected = solve_tiles(cut(matrix, m).astype(np.float64), n, True)
    np.testing.assert_array_equal(cut(nmflow.solve(matrix, n, m), m), expected)


@pytest.mark.parametrize(("n", "m"), [(4, 8), (8, 16), (16, 32)])
def test_strips_with_tables_beside_strips_without(n, m):
    """Most strips have few values, so that batches show tables; the others must not see them."""
    rng = seeded("mixed", n, m)
    shape = 16 * m, 32 * m
    kinds = [
        rng.integers(0, 2, shape),
        rng.integers(0, 4, shape),
        rng.integers(0, 1 << 10, shape),
        rng.integers(0, 2, shape) * 2.0 ** rng.integers(-20, 1, shape),
        rng.standard_normal(shape),
    ]
    which = rng.choice(len(kinds), (16, 32), p=[0.4, 0.2, 0.1, 0.2, 0.1])
    matrix = np.choose(np.kron(which, np.ones((m, m), int)), kinds).astype(np.float32)
    expected = solve_tiles(np.abs(cut(matrix, m)).astype(np.float64), n, True)
    np.testing.assert_array_equal(cut(nmflow.solve(matrix, n, m), m), expected)


@numba.njit
def _last_digit(weights, shape):
    return scan_digits(weights, 0, weights.size // shape.m, shape)[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["powers of two", "integers", "subnormal", "zeros too"])
def test_the_last_digit_of_a_strip(kind, dtype):
    """No score has a digit below it; where all are powers of two, the least has that very one."""
    rng = seeded(kind)
    shape, size = tile_shape(8, 16), (16, 16)
    smallest = float(np.finfo(dtype).smallest_subnormal)
    scores = {
        "powers of two": 2.0 ** rng.integers(-40, 30, size),
        "integers": rng.integers(1, 1000, size) * 2.0**-7,
        "subnormal": rng.integers(1, 8, size) * smallest,
        "zeros too": rng.integers(0, 2, size) * 2.0 ** rng.integers(-9, 9, size),
    }[kind].astype(dtype)
    last = _last_digit(-scores.ravel(), shape)
    digits = [Fraction(float(score)) / Fraction(2) ** last for score in scores.ravel()]
    assert all(digit.denominator == 1 for digit in digits)
    if kind in ("powers of two", "zeros too"):
        assert min(digit for digit in digits if digit) == 1


def test_no_last_digit_where_there_are_many():
    """Nor are ties likely then."""
    scores = seeded("many digits").standard_normal(256).astype(np.float32)
    assert _last_digit(scores, tile_shape(8, 16)) == MANY_DIGITS
