"""``flow`` on one tile from scores to proof, compiled: :func:`solve_tile`.

Each stage is exact, and serves what the one before could not prove:

1. Scores floored to 64-bit integers. If every change of the resulting mask costs more units than
   it adds entries, then no fraction that the floor dropped can matter: the mask is the only
   optimal one for the scores as given. This proves nearly every tile.
2. The next digits of the scores, as long as there are any, on the reduced costs that are left.
3. The tie tables, on the face of the optimal masks of the exact scores.

What is left ties beyond the tables.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.solvers.flow.scalar.augmentation import augment
from nmflow.solvers.flow.scalar.bits import score_bits
from nmflow.solvers.flow.scalar.dual_ascent import arc_costs, ascend, fill_ties, keep_positive
from nmflow.solvers.flow.scalar.quantise import (
    fold_ties,
    leading_digits,
    pose_ties,
    tie_tables,
    zoom,
)
from nmflow.solvers.flow.scalar.uniqueness import is_unique
from nmflow.solvers.flow.scalar.workspace import Workspace, potentials, workspace

INFINITY = 1 << 61


class Scratch(NamedTuple):
    """What :func:`solve_tile` works with, for tiles of one shape and one n."""

    work: Workspace
    tables: NDArray[np.int64]


@helper
def new_scratch(rows, columns, n):
    """Workspace and tie tables for :func:`solve_tile`, allocated once for a batch."""
    like = np.empty(0, np.int64)
    return Scratch(workspace(rows, columns, n, like), tie_tables(rows, columns))


@helper
def set_start(start, exponent, bits, full, v):
    """Set column potentials v to start from; whatever ``start`` holds, v ends within bounds.

    Parameters
    ----------
    start : (c,) float64
        In the scores' units; NaN and infinities count as 0.
    exponent, bits : int
        A unit is 2**-exponent, and scores have so many bits.
    """
    limit = math.ldexp(1.0, bits if not full else bits + 2)
    near = math.ldexp(1.0, min(max(exponent // 2, -1000), 1000))
    far = math.ldexp(1.0, exponent - min(max(exponent // 2, -1000), 1000))
    low, high = math.inf, -math.inf
    for j in range(v.size):
        value = float(start[j]) * near * far
        if not abs(value) < math.inf:
            value = 0.0
        low, high = min(low, value), max(high, value)
    # Potentials of a full tile may be moved together; a price is at least 0.
    middle = low + 0.5 * (high - low) if full else 0.0
    for j in range(v.size):
        value = float(start[j]) * near * far - middle
        if not abs(value) < math.inf:
            value = 0.0
        v[j] = math.floor(min(max(value, -limit if full else 0.0), limit))


@helper
def transpose(q, qt):
    """Copy the scores for the passes that run along columns."""
    for i in range(q.shape[0]):
        for j in range(q.shape[1]):
            qt[j, i] = q[i, j]


@helper
def solve_units(n, full, x, work):
    """Solve the tile of integers in ``work.by_row[0]``, starting at v.

    Parameters
    ----------
    x : bool array, shape (r, c)
        Written: an optimal mask. ``work`` holds optimal potentials u, v.

    Returns
    -------
    bool
        Whether the mask is the only optimal one of all scores of which these are floors.
    """
    transpose(work.by_row[0], work.by_column[0])
    wrong = ascend(n, full, work)
    u, v = potentials(work)
    keep_positive(work.by_row[0], u, v, x)
    if wrong == 0 and full:
        # Any other mask gives up reduced costs >= 1 for some <= 0.
        return True
    if wrong:
        arc_costs(INFINITY, work)
        fill_ties(n, full, INFINITY, x, work)
        augment(n, full, INFINITY, x, work)
    return is_unique(n, full, x, work)


@helper
def solve_tile(scores, n, full, start, x, scratch):
    """Find the canonical mask of a tile; whether it is proved to be that.

    Parameters
    ----------
    scores : float64 array, shape (r, c)
        Finite.
    n : (int, int)
        What rows hold, and what columns do: 1 <= n; on a full tile n[0] < c, n[1] < r and
        r n[0] = c n[1]; on a partial one n[0] < c or n[1] < r.
    full : bool
        Exactly so many to a row and column; or at most, and no negative scores.
    start : float64 array, shape (c,)
        Column potentials to start from, in the scores' units; zeros if none are known. The mask
        does not depend on them, whatever they hold: only the time does.
    x : bool array, shape (r, c)
        The mask, if True is returned.
    scratch : Scratch
        From ``new_scratch(r, c, n)``.

    Returns
    -------
    bool
        False if the tile ties beyond the tables.
    """
    work = scratch.work
    bits = score_bits(scores.shape[0], scores.shape[1])
    _, v = potentials(work)
    exponent, exact = leading_digits(scores, bits, work.by_row[0])
    set_start(start, exponent, bits, full, v)
    first = fold_ties(scratch.tables, work.by_row[0]) if exact else 0
    while not solve_units(n, full, x, work):
        if not exact:
            exponent, exact = zoom(scores, exponent, bits, full, work)
            continue
        count = pose_ties(scratch.tables, first, bits, full, work)
        if count < 1:
            return False
        first += count
    return True


@compile_kernel
def solve_batch(scores, n, full, start, mask, proved):
    """:func:`solve_tile` for each tile of a batch.

    Parameters
    ----------
    scores : float64 array, shape (T, r, c)
    n, full : see :func:`solve_tile`
    start : float64 array, shape (T, c)
    mask : bool array, shape (T, r, c)
        Written.
    proved : bool array, shape (T,)
        Written: False where a tile ties beyond the tables, and its mask means nothing.
    """
    scratch = new_scratch(scores.shape[1], scores.shape[2], n)
    for t in range(scores.shape[0]):
        proved[t] = solve_tile(scores[t], n, full, start[t], mask[t], scratch)


@compile_kernel
def solve_integers(q, exact, n, full, mask, proved):
    """:func:`solve_batch` for integers of at most ``score_bits``; see :func:`floor_to_int64`.

    Parameters
    ----------
    q : int64 array, shape (T, r, c)
    exact : bool array, shape (T,)
        Which tiles are the scores themselves, not floors.
    """
    scratch = new_scratch(q.shape[1], q.shape[2], n)
    _, v = potentials(scratch.work)
    bits = score_bits(q.shape[1], q.shape[2])
    for t in range(q.shape[0]):
        for i in range(q.shape[1]):
            for j in range(q.shape[2]):
                scratch.work.by_row[0, i, j] = q[t, i, j]
        v[:] = 0
        first, count = 0, 1
        proved[t] = solve_units(n, full, mask[t], scratch.work)
        while exact[t] and not proved[t] and count > 0:
            count = pose_ties(scratch.tables, first, bits, full, scratch.work)
            first += count
            proved[t] = count > 0 and solve_units(n, full, mask[t], scratch.work)


def floor_to_int64(scores: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Integer tiles shifted down to ``score_bits``; and which tiles lost nothing by it."""
    shift = 64 - score_bits(*scores.shape[1:])
    kind = scores.dtype.type
    floor = (scores >> kind(shift)).astype(np.int64)
    lost = scores & kind((1 << shift) - 1)
    return floor, (lost == 0).all(axis=(1, 2))
