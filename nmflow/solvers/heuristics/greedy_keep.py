"""``greedy-keep``: scan heavy to light, keep what has room."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel
from nmflow.solvers.heuristics.ordering import make_scratch, order_group
from nmflow.solvers.heuristics.rounding import keep_group


@compile_kernel
def solve_batch(scores: NDArray[Any], columns: int, n: int, full: bool, kept: NDArray[Any]) -> None:
    """Solve tiles group by group."""
    scratch, lanes = make_scratch(scores.shape[1] // columns, columns)
    _, _, entries, keys, natural = scratch
    for first in range(0, scores.shape[0], lanes):
        order_group(scores, first, columns, scratch, lanes)
        if full:
            natural[:] = entries.size
        keep_group(keys, lanes, natural, n, first, kept)


def solve_tiles(
    scores: NDArray[Any], n: int, full: bool, _method: object = None, /
) -> NDArray[np.bool_]:
    """Masks that keep entries, heaviest first, while row and column have room.

    The kept sum is at least half of the optimum for scores >= 0; rows and columns may be left
    under-filled. Of equal scores the lower row-major index comes first. On partial tiles a negative
    score is never kept.

    Takes and returns what :class:`nmflow.solvers.interface.TileSolver` says.

    References
    ----------
    I. Hubara, B. Chmiel, M. Island, R. Banner, J. Naor, D. Soudry, "Accelerated Sparse Neural
    Training: A Provable and Efficient Method to Find N:M Transposable Masks", NeurIPS 2021,
    arXiv 2102.08124: the greedy of the paper's published code, here without its dependence on
    the rest of the batch.
    """
    kept = np.empty(scores.shape, np.bool_)
    solve_batch(scores.reshape(len(scores), -1), scores.shape[2], n, full, kept)
    return kept
