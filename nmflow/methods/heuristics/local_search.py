"""``local-search``: greedy-keep, filled by insert-swaps, improved by exchanges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.methods.heuristics.local_search_kernel import solve_batch
from nmflow.methods.heuristics.moves import UNTIL_OPTIMUM
from nmflow.methods.registry import LocalSearch


def solve_tiles(
    scores: NDArray[Any], n: int, full: bool, method: LocalSearch, /
) -> NDArray[np.bool_]:
    """Masks that no insertion, insert-swap or two-by-two exchange improves.

    Starts from greedy-keep. On full tiles every row and every column holds exactly n. Ends on any
    floats: see :mod:`nmflow.methods.heuristics.moves`.

    Takes and returns what :class:`nmflow.methods.registry.TileSolver` says.

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
