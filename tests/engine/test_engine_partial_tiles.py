"""Partial tiles solved side by side have the masks that they have one by one."""

import numpy as np
import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from test_engine import seeded
from tiles import KINDS, make, narrowed

import nmflow
from nmflow.compiling.jit import compile_kernel
from nmflow.simd.tile_shape import LANES, tile_shape
from nmflow.simd.vectors import store
from nmflow.solvers.flow.method import solve_tiles
from nmflow.solvers.flow.simd_engine.at_most.driver import solve_partial_tiles
from nmflow.solvers.flow.simd_engine.at_most.partial_tiles import prove

# n, rows and columns.
SHAPES = [(4, 8, 7), (4, 7, 8), (4, 7, 7), (2, 4, 1), (8, 16, 5), (16, 32, 23)]


def one_by_one(tiles, n):
    return np.concatenate([solve_tiles(tile[None], n, False) for tile in tiles])


@pytest.mark.parametrize(("n", "rows", "columns"), SHAPES)
def test_same_masks_as_one_by_one(n, rows, columns):
    for kind in KINDS:
        # One batch and a part of another.
        tiles = np.abs(make(kind, seeded(kind, rows, columns), LANES + 8, rows, columns))
        np.testing.assert_array_equal(
            solve_tiles(tiles, n, False), one_by_one(tiles, n), err_msg=kind
        )


@pytest.mark.parametrize(("n", "rows", "columns"), SHAPES)
def test_negative_scores_are_never_kept(n, rows, columns):
    tiles = seeded("negative", rows, columns).standard_normal((48, rows, columns))
    tiles -= seeded("less", rows, columns).uniform(-2, 2, (48, 1, 1))
    mask = solve_tiles(tiles, n, False)
    assert not mask[tiles < 0].any()
    np.testing.assert_array_equal(mask, one_by_one(tiles, n))


def proved(tiles, n):
    found = np.empty(len(tiles), np.bool_)
    solve_partial_tiles(
        tiles, n, np.empty(tiles.shape, np.bool_), found, np.zeros(tiles.shape[::2])
    )
    return found


@pytest.mark.parametrize(("n", "rows", "columns"), SHAPES)
def test_most_are_proved_side_by_side(n, rows, columns):
    tiles = np.abs(seeded("proved", n).standard_normal((512, rows, columns)))
    assert proved(tiles, n).mean() > 0.8


def test_what_ties_is_not():
    """A mask must not be called the only one where a score at its price could be kept instead."""
    assert not proved(np.ones((32, 8, 7)), 4).any()
    assert not proved(np.zeros((32, 8, 7)), 4).any()


@compile_kernel
def _prove(rows, columns, lanes, u, v, held, shape, found):
    store(found, 0, prove(rows, columns, lanes, u, v, held, shape))


def test_what_a_proof_takes(rng):
    """Rows and columns that hold n, or fewer at no price, and no score that is just its price."""
    rows, columns, shape = 4, 3, tile_shape(2, 4)
    scores = rng.integers(-1, 6, (rows, columns, LANES)).astype(np.int16)
    u, v = rng.integers(0, 4, (2, 4, LANES)).astype(np.int16) * rng.integers(0, 2, (2, 4, LANES))
    u, v = u.astype(np.int16), v.astype(np.int16)
    # Some lanes that are proved, and some that would be if one more entry were kept.
    for lane in range(0, LANES, 2):
        scores[..., lane], u[:, lane], v[:, lane] = 0, 0, 1
        scores[[0, 1, 1, 2, 2, 3], [0, 0, 1, 1, 2, 2], lane] = 5
        if lane % 4:
            scores[1, 1, lane] = 0
        if lane % 8 == 6:
            u[:, lane], v[:, lane] = 1, 0
    reduced = scores - u[:, None] - v[None, :columns]
    kept = reduced > 0
    right = (reduced != 0).all(axis=(0, 1))
    for held, price in ((kept.sum(1), u), (kept.sum(0), v[:columns])):
        right &= ((held == 2) | (held < 2) & (price == 0)).all(axis=0)
    assert LANES // 4 <= right.sum() < LANES // 2
    lanes = np.full((4, 5, LANES), -1, np.int16)
    lanes[:rows, :columns] = scores
    found = np.empty(LANES, np.int16)
    held = np.empty(4 * LANES, np.int16)
    _prove(rows, columns, lanes.ravel(), u.ravel(), v.ravel(), held, shape, found)
    np.testing.assert_array_equal(found, -right.astype(np.int16))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_edges_of_matrices(dtype):
    """On both sides and in the corner, against an independent exact algorithm's value."""
    weights = narrowed(seeded("edges", dtype).standard_normal((67, 101)), dtype)
    mask = nmflow.solve(weights, 4, 8)
    proof = nmflow.certify(weights, mask, 4, 8)
    assert proof.feasible
    assert proof.absolute_gap == 0
    other = nmflow.certify(weights, nmflow.solve(weights, 4, 8, "network-simplex"), 4, 8)
    assert other.value == proof.value
