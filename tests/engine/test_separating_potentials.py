"""Potentials between what an optimal mask keeps and what it prunes, of one tile by itself.

A fault there may cost time alone, since what they fail to prove is solved in another way.
"""

import numpy as np
import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from nmflow.compiling.jit import compile_kernel
from nmflow.simd.tile_shape import tile_shape
from nmflow.solvers.flow.method import solve_tiles
from nmflow.solvers.flow.simd_engine.single_tile.shortest_paths import (
    FORBIDDEN,
    new_tile_scratch,
    separate,
)


@compile_kernel
def _separate(tile, shape):
    return separate(tile, shape)


def loaded(scores, kept, shape):
    """Scratch that holds a tile and its mask, and no potentials yet."""
    tile, m = new_tile_scratch(shape), shape.m
    for lines, values in (
        (tile.scores, scores),
        (tile.scores_by_column, scores.T),
        (tile.pruned, np.where(kept, -FORBIDDEN, scores)),
        (tile.kept, np.where(kept, scores, FORBIDDEN).T),
    ):
        lines.reshape(m, -1)[:, :m] = values
    tile.u[:], tile.v[:] = 0, 0
    return tile


def test_potentials_separate_what_is_kept_from_what_is_pruned(rng):
    n, m = 4, 8
    shape, found = tile_shape(n, m), 0
    scores = rng.integers(0, 1 << 20, (40, m, m))
    masks = solve_tiles(scores.astype(float), n, True)
    for tile_scores, kept in zip(scores, masks, strict=True):
        tile = loaded(tile_scores, kept, shape)
        if _separate(tile, shape):
            found += 1
            bound = tile.u[:m, None] + tile.v[:m]
            np.testing.assert_array_equal(tile_scores > bound, kept)
    # The others would take more rounds.
    assert found >= 20, found
