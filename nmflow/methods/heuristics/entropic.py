"""``entropic``: TSENOR, entropic optimal transport with capacities, rounding, local search."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.methods.heuristics.entropic_kernel import solve_batch
from nmflow.methods.heuristics.moves import UNTIL_OPTIMUM
from nmflow.methods.registry import Entropic


def solve_tiles(scores: NDArray[Any], n: int, full: bool, method: Entropic, /) -> NDArray[np.bool_]:
    """Masks rounded from the entropic relaxation, filled by local search.

    Maximises sum(s * S) + entropy(S) / tau over matrices S with entries in [0, 1] whose rows and
    columns sum to n (on partial tiles: to at most n), with s scaled to a spread of one, by
    Dykstra's alternating Bregman projections; then keeps entries in descending S while row and
    column have room, and repairs the mask. Every row and column of a full tile holds exactly n.

    Takes and returns what :class:`nmflow.methods.registry.TileSolver` says.

    References
    ----------
    X. Meng, M. Makni, R. Mazumder, "TSENOR: Highly-Efficient Algorithm for Finding Transposable
    N:M Sparse Masks", NeurIPS 2025, arXiv 2505.23949.
    """
    kept = np.empty(scores.shape, np.bool_)
    flat = scores.reshape(len(scores), -1)
    sweeps = UNTIL_OPTIMUM if method.sweeps is None else method.sweeps
    solve_batch(flat, n, full, float(method.tau), method.iterations, sweeps, kept)
    return kept
