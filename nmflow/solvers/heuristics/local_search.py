"""``local-search``: greedy-keep, filled by insert-swaps, improved by exchanges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel
from nmflow.solvers.heuristics.moves import UNTIL_OPTIMUM, make_tile, repair
from nmflow.solvers.heuristics.ordering import make_scratch, order_group
from nmflow.solvers.heuristics.rounding import keep_group


@compile_kernel
def solve_batch(
    scores: NDArray[Any], columns: int, n: int, full: bool, sweeps: int, kept: NDArray[Any]
) -> None:
    """Solve tiles group by group."""
    tiles, rows, _ = kept.shape
    scratch, lanes = make_scratch(rows, columns)
    _, _, entries, keys, natural = scratch
    state = make_tile(rows, columns)
    for first in range(0, tiles, lanes):
        order_group(scores, first, columns, scratch, lanes)
        if full:
            natural[:] = entries.size
        keep_group(keys, lanes, natural, n, first, kept)
        for tile in range(first, min(first + lanes, tiles)):
            repair(state, scores[tile], kept[tile], n, full, sweeps)


def solve_tiles(scores: NDArray[Any], n: int, full: bool, method: Any, /) -> NDArray[np.bool_]:
    """Masks that no insertion, insert-swap or two-by-two exchange improves.

    Starts from greedy-keep. On full tiles every row and every column holds exactly n. Ends on any
    floats: see :mod:`nmflow.solvers.heuristics.moves`.

    Takes and returns what :class:`nmflow.solvers.interface.TileSolver` says.

    References
    ----------
    The insert-swap is the local search of X. Meng, M. Makni, R. Mazumder, "TSENOR:
    Highly-Efficient Algorithm for Finding Transposable N:M Sparse Masks", NeurIPS 2025,
    arXiv 2505.23949.
    """
    kept = np.empty(scores.shape, np.bool_)
    sweeps = UNTIL_OPTIMUM if method.sweeps is None else method.sweeps
    solve_batch(scores.reshape(len(scores), -1), scores.shape[2], n, full, sweeps, kept)
    return kept
