"""Dual ascent of ``flow`` nearly ends with a mask; what it leaves would be augmented all the same.

So a fault there costs time and changes no mask, which no other test would see.
"""

import numpy as np
import pytest

from nmflow.solvers.flow.scalar.dual_ascent import ascend
from nmflow.solvers.flow.scalar.workspace import new_workspace


def misplaced_units(tiles, n, full):
    """Units that ascent leaves misplaced in each tile, interpreted."""
    work = new_workspace(*tiles.shape[1:], (n, n))
    for tile in tiles:
        work.q[:], work.q_by_column[:], work.v[:] = tile.ravel(), tile.T.ravel(), 0
        yield ascend((n, n), full, work)


@pytest.mark.parametrize(
    ("n", "rows", "columns"), [(2, 4, 4), (4, 8, 8), (4, 5, 8), (4, 8, 5), (2, 3, 4)]
)
def test_dual_ascent_leaves_little_to_augment(n, rows, columns, rng):
    tiles = rng.integers(0, 1 << 30, (40, rows, columns))
    left = list(misplaced_units(tiles, n, rows == columns))
    assert np.mean(left) < 0.1
