"""``exhaustive``: every mask of a tile, where there are few enough to try them all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow import ties
from nmflow.errors import NmflowError

LIMIT = 10_000

# Values of masks held at a time: 32 MB of float64.
CHUNK_VALUES = 1 << 22


def solve_tiles(
    scores: NDArray[Any], n: int, full: bool, _method: object = None, /
) -> NDArray[np.bool_]:
    """Masks of the largest value, ties by the rule of :mod:`nmflow.ties`.

    The masks of a tile shape stand in the order of preference that the rule gives, so the first of
    largest value is the one. A float product of scores and masks finds it wherever no other mask
    comes within the product's error; the rest is decided in exact integers.

    Takes and returns what :class:`nmflow.solvers.registry.TileSolver` says.

    Raises
    ------
    NmflowError
        Where a tile has 10,000 masks or more.
    """
    _, rows, columns = scores.shape
    masks = masks_in_order(rows, columns, n, full)
    flat = scores.reshape(len(scores), -1)
    best = np.empty(len(flat), np.intp)
    step = max(1, CHUNK_VALUES // len(masks))
    for start in range(0, len(flat), step):
        best[start : start + step] = _best_masks(flat[start : start + step], masks)
    return masks[best].reshape(scores.shape)


@lru_cache(maxsize=64)
def masks_in_order(rows: int, columns: int, n: int, full: bool) -> NDArray[np.bool_]:
    """All masks of a tile shape, flat, the ones that the tie rule prefers first.

    Returns
    -------
    ndarray of bool, shape (masks, rows * columns)
    """
    few = math.comb(columns, min(n, columns)) < LIMIT
    found = list(islice(_enumerate(rows, (n,) * columns, n, full), LIMIT)) if few else []
    if not few or len(found) == LIMIT:
        raise NmflowError(
            f"method 'exhaustive' tries every mask, and a tile of {rows}x{columns} that keeps"
            f" {'' if full else 'at most '}{n} per row and column has {LIMIT:,} or more:"
            " use method 'flow', which has no limit"
        )
    masks = np.array(found, np.bool_).reshape(len(found), rows * columns)
    kept = [masks @ ties.table(k, rows, columns).ravel() for k in range(ties.TABLES)]
    # lexsort sorts by its last key first: the tables in turn, then row-major order.
    order = np.lexsort([*masks.T[::-1], *kept[::-1]])[::-1]
    return masks[order]


def _enumerate(
    rows: int, room: tuple[int, ...], n: int, full: bool
) -> Iterator[list[tuple[bool, ...]]]:
    """Every way to fill the remaining rows, given the room left in each column."""
    if rows == 0:
        yield []
        return
    columns = range(len(room))
    for size in (n,) if full else range(min(n, len(room)) + 1):
        for chosen in combinations([j for j in columns if room[j]], size):
            left = tuple(room[j] - (j in chosen) for j in columns)
            # A column with more room than rows to come could never be filled. With that excluded
            # some completion always exists (Gale-Ryser), so nothing is searched in vain.
            if full and max(left) > rows - 1:
                continue
            row = tuple(j in chosen for j in columns)
            for rest in _enumerate(rows - 1, left, n, full):
                yield [row, *rest]


def _best_masks(scores: NDArray[Any], masks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Index of the first mask of largest exact value, for each tile."""
    floats = _near_one(scores)
    values = floats @ masks.T.astype(np.float64)
    # A float sum of N terms, in any order, is off by less than N eps times the sum of magnitudes
    # (Higham, Accuracy and Stability of Numerical Algorithms, 2002, sec. 4.2), and rounding the
    # scores themselves by eps each; both masks of a comparison err, and twice that is safe.
    entries = scores.shape[1]
    margin = 4 * (entries + 2) * np.finfo(np.float64).eps * np.abs(floats).sum(axis=1)
    largest = values.max(axis=1)
    rivals = values >= (largest - margin - np.finfo(np.float64).tiny)[:, None]
    best: NDArray[np.intp] = values.argmax(axis=1)
    for t in np.flatnonzero(rivals.sum(axis=1) > 1):
        candidates = np.flatnonzero(rivals[t])
        exact = _exact_values(scores[t], masks[candidates])
        best[t] = candidates[exact.index(max(exact))]
    return best


def _near_one(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Scores as float64, brought near one by a power of two per tile, so that no sum overflows."""
    floats = scores.astype(np.float64)
    _, exponent = np.frexp(np.abs(floats).max(axis=1, keepdims=True))
    near: NDArray[np.float64] = np.ldexp(floats, -exponent)
    return near


def _exact_values(tile: NDArray[Any], masks: NDArray[np.bool_]) -> list[int]:
    """Kept scores of some masks as integers, all times the same power of two."""
    ratios = [value.as_integer_ratio() for value in tile.tolist()]
    unit = max(bottom for _, bottom in ratios)
    whole = [top * (unit // bottom) for top, bottom in ratios]
    if max(map(abs, whole)) < 2**62 // len(whole):
        return (masks @ np.array(whole, np.int64)).tolist()  # type: ignore[no-any-return]
    return [sum(whole[k] for k in np.flatnonzero(mask)) for mask in masks]
