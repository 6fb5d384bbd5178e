"""``flow`` on one tile after the other, from scores to proof: :func:`solve_batch`.

Each stage is exact, and serves what the one before could not prove:

1. Scores floored to 64-bit integers. If every change of the resulting mask costs more units than
   it adds entries, then no fraction that the floor dropped can matter: the mask is the only
   optimal one for the scores as given. This proves nearly every tile.
2. The next digits of the scores, as long as there are any, on the reduced costs that are left.
3. The tie tables, on the face of the optimal masks of the exact scores.

What is left ties beyond the tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.sparing import run_sparingly
from nmflow.solvers.flow.scalar.bits import score_bits
from nmflow.solvers.flow.scalar.digits import (
    Digits,
    fold_ties,
    leading_digits,
    pose_ties,
    start_of,
    zoom,
)
from nmflow.solvers.flow.scalar.kernel import solve_units
from nmflow.solvers.flow.scalar.workspace import Workspace, workspace

# To so few tiles a start, and tables at once, bring less than they take.
_FEW = 16
# Entries that are worked on at a time.
_WINDOW = 1 << 16


def solve_batch(
    scores: NDArray[Any],
    n: tuple[int, int],
    full: bool,
    start: NDArray[np.float64] | None,
    mask: NDArray[np.bool_],
    proved: NDArray[np.bool_],
) -> None:
    """Canonical masks of a batch of tiles, and which are proved to be that.

    Parameters
    ----------
    scores : ndarray, shape (T, r, c)
        Finite floats, or integers.
    n, full : see :func:`nmflow.solvers.flow.scalar.kernel.solve_units`
    start : ndarray of float64, shape (T, c), optional
        Column potentials to start from, in the scores' units. The masks do not depend on them,
        whatever they hold: only the time does.
    mask : ndarray of bool, shape (T, r, c)
        Written.
    proved : ndarray of bool, shape (T,)
        Written: False where a tile ties beyond the tables, or is of integers that 64 bits don't
        hold with room to calculate; its mask means nothing.
    """
    count, rows, columns = scores.shape
    window = max(1, _WINDOW // (rows * columns))
    with workspace(rows, columns, n) as work:
        for first in range(0, count, window):
            part = slice(first, first + window)
            near = None if start is None else start[part]
            found = mask[part], proved[part]
            _solve_window(scores[part], n, full, near, *found, work, scores.size)


def _solve_window(
    scores: NDArray[Any],
    n: tuple[int, int],
    full: bool,
    start: NDArray[np.float64] | None,
    mask: NDArray[np.bool_],
    proved: NDArray[np.bool_],
    work: Workspace,
    entries: int,
) -> None:
    """As :func:`solve_batch`, of so many entries in all."""
    count, rows, columns = scores.shape
    floats = scores.dtype.kind == "f"
    if floats:
        scores = scores.astype(np.float64, copy=False)
        digits = leading_digits(scores, score_bits(rows, columns))
        if count > _FEW:
            fold_ties(digits)
    else:
        digits = floor_to_int64(scores)
    u, v = np.empty((count, rows), np.int64), np.zeros((count, columns), np.int64)
    if start is not None and floats and count > _FEW:
        v = start_of(start, digits.exponent, score_bits(rows, columns), full)
    open_tiles: Any = slice(0, count)
    while True:
        found = np.empty((len(u), rows * columns), np.uint8)
        unique = np.empty(len(u), np.bool_)
        q = digits.q.reshape(found.shape)
        run_sparingly(solve_units, (q, n, full, work, u, v, found, unique), entries)
        mask[open_tiles] = found.reshape(-1, rows, columns)
        proved[open_tiles] = unique
        if unique.all():
            return
        if isinstance(open_tiles, slice):
            open_tiles = np.arange(count)
        # Integers that were shifted down have no more digits here.
        left = ~unique & digits.undecided & (floats | digits.exact)
        if not left.any():
            return
        open_tiles, digits, u, v = open_tiles[left], digits.of(left), u[left], v[left]
        digits = _pose_next(scores[open_tiles], digits, full, u, v)


def _pose_next(
    scores: NDArray[Any],
    digits: Digits,
    full: bool,
    u: NDArray[np.int64],
    v: NDArray[np.int64],
) -> Digits:
    """The tiles with more digits, or if they have no more, the next tables; v to start from."""
    if digits.exact.all():
        return pose_ties(digits, full, u, v)
    if not digits.exact.any():
        return zoom(scores, digits, full, u, v)
    posed = Digits(*(np.empty_like(part) for part in digits.parts))
    for some in (digits.exact, ~digits.exact):
        start = v[some]
        part = _pose_next(scores[some], digits.of(some), full, u[some], start)
        v[some] = start
        for to, values in zip(posed.parts, part.parts, strict=True):
            to[some] = values
    return posed


def floor_to_int64(scores: NDArray[Any]) -> Digits:
    """Integer tiles shifted down to :func:`score_bits`; exact where they lost nothing by it."""
    shift = 64 - score_bits(*scores.shape[1:])
    kind = scores.dtype.type
    floor = (scores >> kind(shift)).astype(np.int64)
    lost = scores & kind((1 << shift) - 1)
    none = np.zeros(len(scores), np.int64)
    return Digits(floor, none, (lost == 0).all(axis=(1, 2)), none.copy())
