"""``lp`` held against ``flow``."""

import numpy as np
import oracle

from nmflow import Lp
from nmflow.solvers.flow import method as flow
from nmflow.solvers.lp import solve_tiles


def same(scores, n, full, method=None):
    """Equal to flow in value, and, since both follow the tie rule, in mask."""
    found = solve_tiles(scores.copy(), n, full, method or Lp())
    expected = flow.solve_tiles(scores.copy(), n, full)
    for tile, mask, best in zip(scores, found, expected, strict=True):
        assert oracle.exact_sum(tile, mask) == oracle.exact_sum(tile, best)
        np.testing.assert_array_equal(mask, best)
