"""``flow`` on tiles of integers, one after the other, compiled: :func:`solve_units`.

The one source of the scalar stage: numba compiles it for 64-bit integers, and Python runs parts of
it on its own (:mod:`unbounded`). It knows nothing of n, m and dtypes, and is compiled once.
"""

from __future__ import annotations

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.solvers.flow.scalar.augmentation import arc_costs, augment, fill_ties
from nmflow.solvers.flow.scalar.dual_ascent import ascend, keep_positive
from nmflow.solvers.flow.scalar.uniqueness import is_unique

INFINITY = 1 << 61


@helper
def load_tile(q, v, t, work):
    """Copy a tile's scores, by rows and by columns, and its potentials."""
    rows, columns = work.rows, work.columns
    for i in range(rows):
        for j in range(columns):
            score = q[t, i * columns + j]
            work.q[i * columns + j] = score
            work.q_by_column[j * rows + i] = score
    for j in range(columns):
        work.v[j] = v[t, j]


@helper
def solve_loaded(n, full, work):
    """Solve the tile in ``work``, from its v on: an optimal mask, and optimal u and v.

    Returns whether the mask is the only optimal one of all scores of which these are floors.
    """
    wrong = ascend(n, full, work)
    keep_positive(work)
    if wrong == 0 and full:
        # Any other mask gives up reduced costs >= 1 for some <= 0.
        return True
    if wrong != 0:
        arc_costs(INFINITY, work)
        fill_ties(n, full, INFINITY, work)
        augment(n, full, INFINITY, work)
    return is_unique(n, full, work)


@compile_kernel(nrt=False)
def solve_units(q, n, full, work, u, v, mask, unique):
    """Solve tiles of integers, each from the column potentials at hand.

    Parameters
    ----------
    q : int64 array, shape (T, r * c)
        Scores of at most :func:`bits.score_bits`.
    n : (int, int)
        What rows hold, and what columns do: 1 <= n; on a full tile n[0] < c, n[1] < r and
        r n[0] = c n[1]; on a partial one n[0] < c or n[1] < r.
    full : bool
        Exactly so many to a row and column; or at most, and no negative scores.
    work : Workspace
    u, v : int64 arrays, shape (T, r), (T, c)
        Written: optimal potentials. The mask does not depend on what v holds: only the time does.
    mask : uint8 array, shape (T, r * c)
        Written: an optimal mask.
    unique : bool array, shape (T,)
        Written: whether it is the only optimal one of all scores of which these are floors.
    """
    for t in range(q.shape[0]):
        load_tile(q, v, t, work)
        unique[t] = solve_loaded(n, full, work)
        for k in range(q.shape[1]):
            mask[t, k] = work.kept[k]
        for i in range(work.rows):
            u[t, i] = work.u[i]
        for j in range(work.columns):
            v[t, j] = work.v[j]
