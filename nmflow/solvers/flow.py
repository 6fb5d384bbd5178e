"""``flow``: exact masks by min-cost flow, ties broken by the fixed tables.

The compiled kernel settles every tile but one whose optimal masks tie in all the tables, or one of
64-bit integers beyond what it holds; :mod:`nmflow.kernels.scalar` tells how. Those few are solved
in unbounded integers, with all tables and the position below the scores' last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.kernels.flow import solve_unbounded
from nmflow.kernels.scalar import floored, settle_batch, settle_integers
from nmflow.solvers.integers import unique_integers

# Entries that are converted to float64 at a time.
_WINDOW = 1 << 20


def solve_tiles(
    scores: NDArray[Any], n: int, full: bool, _method: object = None, /
) -> NDArray[np.bool_]:
    """Optimal masks of a batch of equal tiles; see :class:`nmflow.solvers.registry.TileSolver`."""
    if n >= max(scores.shape[1:]):
        # The groups constrain nothing.
        return np.ones(scores.shape, np.bool_) if full else scores >= 0
    mask, settled = np.empty(scores.shape, np.bool_), np.empty(len(scores), np.bool_)
    if scores.dtype.kind == "f":
        window = max(1, _WINDOW // scores[0].size)
        start = np.zeros((window, scores.shape[2]))
        for first in range(0, len(scores), window):
            part = slice(first, first + window)
            values = scores[part].astype(np.float64, copy=False)
            settle_batch(values, n, full, start, mask[part], settled[part])
    else:
        settle_integers(*floored(scores), n, full, mask, settled)
    for t in np.flatnonzero(~settled):
        mask[t] = solve_unbounded(unique_integers(scores[t : t + 1])[0], n, full)
    return mask
