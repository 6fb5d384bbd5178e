"""``greedy``: the paper's 2-approximation, scan light to heavy and prune what a line still owes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.methods.heuristics.greedy_kernel import solve_batch


def solve_tiles(
    scores: NDArray[Any], n: int, full: bool, _method: object = None, /
) -> NDArray[np.bool_]:
    """Masks that prune entries, lightest first, while row or column owes one.

    A row of length c owes max(0, c - n) pruned entries, a column of length r max(0, r - n). For
    scores >= 0 the pruned sum is at most twice the least possible; lines are left under-filled,
    nearly always. Of equal scores the one with the higher row-major index is pruned first. On
    partial tiles a negative score is always pruned, before all others, and counts towards what its
    row and its column owe.

    Takes and returns what :class:`nmflow.methods.registry.TileSolver` says.

    References
    ----------
    I. Hubara, B. Chmiel, M. Island, R. Banner, J. Naor, D. Soudry, "Accelerated Sparse Neural
    Training: A Provable and Efficient Method to Find N:M Transposable Masks", NeurIPS 2021,
    arXiv 2102.08124: the 2-approximation algorithm.
    """
    kept = np.empty(scores.shape, np.bool_)
    solve_batch(scores.reshape(len(scores), -1), scores.shape[2], n, full, kept)
    return kept
