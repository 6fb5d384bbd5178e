"""``network-simplex``: exact masks by the primal network simplex method, in exact integers.

A tile is a transportation problem: row i ships at most n units, column j takes at most n, arc
(i, j) carries 0 or 1 and earns its score. Slack arcs row -> root and root -> column carry what a
row or column leaves unused; they earn 0, or on a full tile so little that none carries anything.

An arc between a row and a column is always at one of its bounds, so most pivots are degenerate,
and the rule that prevents cycling gives the basis its shape. In a *strongly feasible* tree every
node can send a unit to the root [1]_: a row hangs below a column by a pruned arc, a column below
a row by a kept one, always. For assignment this is the alternating-path basis of [2]_. A pivot
sends a unit from ``give`` over the entering arc to ``take``, and from there up the tree:

- If ``give`` is not above ``take``, the arc that ties ``give`` to its parent blocks, and leaves.
  The subtree of ``give`` moves below ``take`` as it is, and its potentials rise.
- Else the unit comes round to ``give``, the arcs on its way change state, the last one leaves.

So a pivot raises the value, or keeps the flow and raises potentials. In exact arithmetic no basis
returns, and the method ends. The arithmetic *is* exact, for all finite scores: they are cut into
digits. The leading ones, floored, are solved in 64-bit integers. What the floor left out cannot
change the state of an arc whose reduced cost exceeds the length of a cycle; so the reduced costs,
clipped there and followed by the next digits, pose what is left in 64 bits again, and its simplex
starts from the basis at hand. Most tiles take one stage.

References
----------
.. [1] W. H. Cunningham, "A network simplex method", Mathematical Programming 11, 1976.
.. [2] R. S. Barr, F. Glover, D. Klingman, "The alternating basis algorithm for assignment
   problems", Mathematical Programming 13, 1977.
.. [3] R. K. Ahuja, T. L. Magnanti, J. B. Orlin, "Network Flows", 1993, chapter 11.
.. [4] D. J. Kelly, G. M. O'Neill, "The minimum cost flow problem and the network simplex
   solution method", master's thesis, University College Dublin, 1991 (block pricing).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.solvers.network_simplex.digits import FLOAT, SIGNED, UNSIGNED
from nmflow.solvers.network_simplex.simplex import solve_batch

KINDS = {"f": FLOAT, "i": SIGNED, "u": UNSIGNED}


def solve_tiles(
    scores: NDArray[Any], n: int, full: bool, _method: object = None, /
) -> NDArray[np.bool_]:
    """Optimal masks of a batch of equal tiles; see :class:`nmflow.solvers.interface.TileSolver`."""
    return solve_with_potentials(scores, n, full)[0]


def solve_with_potentials(
    scores: NDArray[Any], n: int, full: bool
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Optimal masks of a batch of equal tiles, and the potentials that prove them.

    Parameters
    ----------
    scores : ndarray, shape (T, r, c), float32, float64, int64 or uint64
        Finite, C-contiguous.
    n : int
        At least 1.
    full : bool
        True: r = c >= n, and every row and column keeps exactly n. False: at most n, and nothing
        of negative score.

    Returns
    -------
    mask : ndarray of bool, shape (T, r, c)
    u, v : ndarray of float64, shapes (T, r) and (T, c)
        Up to the rounding of sums of at most r + c scores: kept scores are >= u_i + v_j, pruned
        ones <= u_i + v_j. If not ``full``, none is negative and those of rows and columns with
        room are 0.

    Notes
    -----
    The mask is exact whatever the scores' range; of tied optima it is the one that the pivots
    reach, which depends on the tile alone.
    """
    if scores.dtype == np.float32:
        scores = scores.astype(np.float64)
    count, rows, columns = scores.shape
    mask = np.empty(scores.shape, np.bool_)
    u, v = np.empty((count, rows)), np.empty((count, columns))
    words = scores.view(np.int64)
    solve_batch(scores, words, n, full, KINDS[scores.dtype.kind], mask, u, v)
    if not full:
        # Rounding may leave a zero on the wrong side.
        np.maximum(u, 0, out=u)
        np.maximum(v, 0, out=v)
    return mask, u, v
