"""``exhaustive``: compare all masks, where they are few.

The masks of a tile shape are listed once, in the order in which the tie rule prefers them (see
:mod:`nmflow.problem.ties`), so that the first mask of the largest value is the answer. Values are
one matrix product, masks times scores: 90 masks at 2:4. Where its rounding leaves several masks in
question, these are compared in integers.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem import ties
from nmflow.solvers.integers import exact_integers

Masks = NDArray[np.bool_]

# Shapes with this many masks or more are refused.
LIMIT = 10_000
# Values computed at once: few enough to stay in the cache.
CHUNK = 1 << 17
# Values compared in 64-bit integers at once.
WIDE_CHUNK = 1 << 22

_LARGE = 2.0**900


def solve_tiles(scores: NDArray[Any], n: int, full: bool, _method: object = None, /) -> Masks:
    """Optimal masks of a batch of equal tiles; see :class:`nmflow.solvers.interface.TileSolver`.

    Raises
    ------
    NmflowError
        Where the shape has :data:`LIMIT` masks or more.
    """
    count, rows, columns = scores.shape
    if n >= max(rows, columns):
        # The groups constrain nothing.
        return np.ones(scores.shape, np.bool_) if full else scores >= 0
    masks, table = _tables(rows, columns, n, full)
    flat = scores.reshape(count, rows * columns)
    best = np.empty(count, np.intp)
    step = max(CHUNK // len(masks), 1)
    for first in range(0, count, step):
        part = slice(first, first + step)
        best[part] = _best(flat[part], masks, table)
    return masks[best].reshape(scores.shape)


def all_masks(rows: int, columns: int, n: int, full: bool) -> Masks:
    """Every mask of a shape in the order of the tie rule, preferred ones first.

    Parameters
    ----------
    rows, columns, n : int
    full : bool
        True: exactly n in every row and column; False: at most n.

    Returns
    -------
    masks : bool array, shape (K, rows * columns)
    """
    masks = _row_major(rows, columns, n, full)
    kept = [masks @ ties.table(k, rows, columns).ravel() for k in range(ties.TABLES)]
    # The sort is stable and its last key counts first.
    return masks[np.lexsort([-total for total in reversed(kept)])]


@lru_cache(maxsize=32)
def _tables(rows: int, columns: int, n: int, full: bool) -> tuple[Masks, NDArray[np.float64]]:
    """All masks, and the same as float64 for the product; shared, so read-only."""
    masks = all_masks(rows, columns, n, full)
    table = masks.astype(np.float64)
    masks.flags.writeable = table.flags.writeable = False
    return masks, table


def _row_major(rows: int, columns: int, n: int, full: bool) -> Masks:
    """Every mask in row-major lexicographic order, kept before pruned.

    Depth first over rows. On a full tile a column may need no more than the rows left give; then
    every beginning can be completed (Gale, "A theorem on flows in networks", 1957; Ryser, 1957),
    so beginnings not yet completed count towards the limit, and a shape is refused at once.
    """
    most = min(n, columns)
    sizes = range(most, most + 1) if full else range(most + 1)
    if sum(math.comb(columns, size) for size in sizes) >= LIMIT:
        raise _too_many(rows, columns, n)
    kinds = sorted(
        (
            tuple(j in kept for j in range(columns))
            for size in sizes
            for kept in map(frozenset, combinations(range(columns), size))
        ),
        reverse=True,
    )
    lines = np.array(kinds, np.bool_)
    found: list[tuple[int, ...]] = []
    # Each entry: the kinds of the rows so far, and how many each column may still keep.
    begun: list[tuple[tuple[int, ...], NDArray[np.int64]]] = [((), np.full(columns, n))]
    while begun:
        chosen, room = begun.pop()
        if len(chosen) == rows:
            found.append(chosen)
            continue
        left = room - lines
        fits = (left >= 0).all(axis=1)
        if full:
            fits &= (left <= rows - len(chosen) - 1).all(axis=1)
        # The last pushed is the first popped.
        begun += [((*chosen, int(k)), left[k]) for k in np.flatnonzero(fits)[::-1]]
        if len(found) + len(begun) >= LIMIT:
            raise _too_many(rows, columns, n)
    masks: Masks = lines[np.array(found)].reshape(len(found), rows * columns)
    return masks


def _too_many(rows: int, columns: int, n: int) -> NmflowError:
    return NmflowError(
        f"method 'exhaustive': a {rows}x{columns} tile with n={n} has {LIMIT:,} masks or more,"
        " which is its limit; method 'flow' has no limit"
    )


def _best(scores: NDArray[Any], masks: Masks, table: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each tile the first mask of the largest exact value."""
    size = masks.shape[1]
    # float64 of a 64-bit integer is off by at most half a unit in the last place.
    real = scores.astype(np.float64, copy=False)
    largest = np.abs(real).max(axis=1)
    if (largest > _LARGE).any():
        # What underflows here is far below the margin.
        small = np.where(largest > _LARGE, 2.0**-200, 1.0)
        real, largest = real * small[:, None], largest * small
    values = real @ table.T
    best: NDArray[np.intp] = values.argmax(axis=1)
    # Products with 0 and 1 are exact and sums never underflow, so in whatever order the terms
    # are added, a value is off by at most size**2 * largest * eps / 2, and its terms by
    # size * largest * eps / 2 before (Higham, Accuracy and Stability, 2002, sec. 4.2). Two values,
    # a rounded difference and a margin to spare.
    margin = 4 * size * size * np.finfo(np.float64).eps * largest
    reach = values[np.arange(len(best)), best] - margin
    near = values >= reach[:, None]
    open_ = np.flatnonzero(np.count_nonzero(near, axis=1) > 1)
    if open_.size:
        best[open_] = _settle(scores[open_], masks, near[open_], best[open_])
    return best


def _settle(
    scores: NDArray[Any], masks: Masks, near: Masks, best: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Compare the masks in question exactly.

    ``best`` stays where a tile's scores have so few bits that floats add them exactly.
    """
    best = best.copy()
    whole, bits = _in_units(scores)
    inexact = bits > 53
    some = np.flatnonzero(inexact & (bits <= 62))
    step = max(WIDE_CHUNK // len(masks), 1)
    integers = masks.T.astype(np.int64)
    for first in range(0, some.size, step):
        part = some[first : first + step]
        best[part] = (whole[part] @ integers).argmax(axis=1)
    for t in np.flatnonzero(bits > 62):
        candidates = np.flatnonzero(near[t])
        tile = exact_integers(scores[t, None, None])[0, 0]
        totals = [sum(tile[masks[k]].tolist()) for k in candidates]
        best[t] = candidates[totals.index(max(totals))]
    return best


def _in_units(scores: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Scores in units of each tile's lowest bit, and the bits that sums of them may need.

    The integers mean nothing where more than 62 bits are needed.
    """
    spare = scores.shape[1].bit_length()
    if scores.dtype.kind != "f":
        _, top = np.frexp(np.abs(scores.astype(np.float64)).max(axis=1))
        return scores.astype(np.int64), top.astype(np.intp) + spare
    mantissa, exponent = np.frexp(scores.astype(np.float64))
    digits = np.ldexp(mantissa, 53).astype(np.int64)
    _, lowest = np.frexp((digits & -digits).astype(np.float64))
    zero = digits == 0
    # Beyond any exponent, so that zeros set neither end of the range.
    unit = np.where(zero, 4000, exponent - 54 + lowest).min(axis=1)
    top = np.where(zero, -4000, exponent).max(axis=1)
    bits = np.maximum(top - unit, 0) + spare
    fits = bits <= 62
    whole = np.zeros(scores.shape, np.int64)
    whole[fits] = np.ldexp(scores[fits].astype(np.float64), -unit[fits, None]).astype(np.int64)
    return whole, bits.astype(np.intp)
