"""``flow`` on one tile of integers of any size: the last resort, and the oracle of the others.

What :mod:`nmflow.solvers.flow.scalar.kernel` compiles for 64-bit integers is plain Python over
arrays. Here the same source runs interpreted, on arrays of Python integers (``dtype=object``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.solvers.flow.scalar.augmentation import arc_costs, augment, fill_ties
from nmflow.solvers.flow.scalar.dual_ascent import keep_positive, misplaced
from nmflow.solvers.flow.scalar.workspace import new_unbounded_workspace


def solve_unbounded(q: NDArray[Any], n: tuple[int, int], full: bool) -> NDArray[np.bool_]:
    """Optimal mask of one tile of Python integers of any size (``dtype=object``).

    ``n`` is what rows hold, and what columns do.
    """
    work = new_unbounded_workspace(*q.shape)
    work.q[:], work.q_by_column[:] = q.ravel(), q.T.ravel()
    u, v = work.u, work.v
    infinity = 16 * sum(q.shape) * (1 + int(abs(q).max()))
    for sweep in range(3):
        if sweep:
            v[:] = thresholds(q.T - u, n[1], full)
        u[:] = thresholds(q - v, n[0], full)
    misplaced(n, full, work)
    keep_positive(work)
    arc_costs(infinity, work)
    fill_ties(n, full, infinity, work)
    augment(n, full, infinity, work)
    return work.kept.reshape(q.shape).astype(np.bool_)


def thresholds(reduced_costs: NDArray[Any], n: int, full: bool) -> NDArray[Any]:
    """Midpoints of each line's n-th and (n+1)-th largest: a step of the dual ascent in numpy."""
    if n >= reduced_costs.shape[1]:
        return np.zeros(len(reduced_costs), object)
    ordered = np.sort(reduced_costs, axis=1)
    middle = (ordered[:, -n] + ordered[:, -n - 1]) >> 1
    return middle if full else np.maximum(middle, 0)
