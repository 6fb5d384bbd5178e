"""Tiles that hold at most n, solved where they lie, have the masks that they have one by one."""

import numpy as np
import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from tiles import KINDS, make, seeded

from nmflow.problem.tiling import Window
from nmflow.solvers.flow.allowed import AllowedScores
from nmflow.solvers.flow.at_most import solve_window_at_most
from nmflow.solvers.flow.method import solve_tiles

ACROSS = 40


def side_by_side(tiles):
    count, m, _ = tiles.shape
    return np.ascontiguousarray(tiles.transpose(1, 0, 2).reshape(1, m, count * m))


def solve(tiles, n):
    scores, m = side_by_side(tiles), tiles.shape[1]
    mask = np.empty(scores.shape, bool)
    window = Window.whole(scores.shape, (m, m), True)
    allowed = np.ones(scores.shape, bool)
    solve_window_at_most(AllowedScores(scores, allowed, False), window, mask, n)
    return mask.reshape(m, len(tiles), m).transpose(1, 0, 2)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (2, 3), (8, 16), (16, 32)])
@pytest.mark.parametrize("kind", KINDS)
def test_same_masks_as_one_by_one(kind, n, m):
    rng = seeded(kind, n, m, "at most")
    for share in (0.3, 0.6, 1.0):
        tiles = np.abs(make(kind, rng, ACROSS, m, m))
        tiles = np.where(rng.random(tiles.shape) < share, tiles, -tiles - 1e-30)
        if kind == "float32" and m == 8:
            tiles = tiles.astype(np.float32)
        mask = solve(tiles, n)
        assert not mask[tiles < 0].any()
        some = slice(None) if m < 16 else slice(6)
        np.testing.assert_array_equal(mask[some], solve_tiles(tiles[some].copy(), n, False))


def test_prices_that_may_not_fall_further(rng):
    """Rows of ever fewer entries, so that many prices end at 0, in every window of the stages."""
    tiles = rng.standard_normal((ACROSS * 4, 8, 8)).astype(np.float32)
    for k in range(8):
        tiles[:, k, k + 1 :] = -1
    tiles *= 2.0 ** rng.integers(-12, 0, tiles.shape)
    np.testing.assert_array_equal(solve(tiles, 4), solve_tiles(tiles.copy(), 4, False))
