"""Keep entries in a given order while their row and their column have room.

Greedy-keep is this scan over the scores; local search starts from it, and the entropic method
rounds with it.  For scores >= 0 it keeps at least half of the optimum: where it refuses an
entry, a full row or a full column holds n entries that are each at least as heavy, and a kept
entry is charged so at most once through its row and once through its column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper
from nmflow.simd.vectors import load, splat, store
from nmflow.solvers.heuristics.ordering import KEYS_PER_VECTOR, LINE_BITS, LINE_MASK

# A tile of at most 8 by 8 fits machine words: a bit an entry, and a 4-bit counter a line.
PACKED_LINES = 8


@helper
def unpack_masks(words: NDArray[Any], first: int, count: int, kept: NDArray[Any]) -> None:
    """Write masks of one bit an entry, at ``8 * row + column``, as booleans."""
    for lane in range(count):
        word = words[lane]
        for row in range(kept.shape[1]):
            for column in range(kept.shape[2]):
                kept[first + lane, row, column] = word >> (PACKED_LINES * row + column) & 1


@helper
def _keep_packed(
    keys: NDArray[Any], scanned: NDArray[Any], entries: int, n: int, words: NDArray[Any]
) -> None:
    """Scan tiles of at most 8 by 8 without a branch, several a vector.

    A line's counter starts at 8 - n, so that its top bit says that the line holds n; the rows'
    counters are the low half of a word and the columns' the high half.
    """
    lanes = words.size
    one = splat(keys, np.int64(1))
    two = splat(keys, np.int64(2))
    three = splat(keys, np.int64(3))
    sixteen = splat(keys, np.int64(LINE_BITS))
    halfway = splat(keys, np.int64(32))
    low = splat(keys, np.int64(PACKED_LINES - 1))
    sign = splat(keys, np.int64(63))
    start = splat(keys, np.int64((PACKED_LINES - n) * 0x1111111111111111))
    for lane in range(0, lanes, KEYS_PER_VECTOR):
        counters = start
        word = one ^ one
        stop = load(scanned, lane)
        for position in range(entries):
            key = load(keys, position * lanes + lane)
            row = key >> sixteen & low
            column = key & low
            row_shift = row << two
            column_shift = (column << two) + halfway
            full = counters >> row_shift | counters >> column_shift
            room = full >> three & one ^ one
            inside = (splat(keys, np.int64(position)) - stop) >> sign & one
            keep = room & inside
            counters = counters + (keep << row_shift) + (keep << column_shift)
            word = word | keep << (row << three) + column
        store(words, lane, word)


@helper
def keep_one(
    keys: NDArray[Any], lane: int, lanes: int, scanned: int, n: int, kept: NDArray[Any]
) -> None:
    """Scan the first ``scanned`` keys of one lane into the mask ``kept`` of its tile."""
    rows, columns = kept.shape
    kept[:] = False
    row_count = np.zeros(rows, np.int32)
    column_count = np.zeros(columns, np.int32)
    for position in range(scanned):
        key = keys[position * lanes + lane]
        row = key >> LINE_BITS & LINE_MASK
        column = key & LINE_MASK
        # Without a branch: whether there is room is what no processor predicts.
        keep = (row_count[row] < n) & (column_count[column] < n)
        row_count[row] += keep
        column_count[column] += keep
        kept[row, column] = keep


@helper
def keep_group(
    keys: NDArray[Any], lanes: int, scanned: NDArray[Any], n: int, first: int, kept: NDArray[Any]
) -> None:
    """Scan a group of ordered tiles into their masks.

    Parameters
    ----------
    keys
        Sorted keys as ``ordering`` makes them, entry-major.
    lanes
        Tiles in the group.
    scanned
        For each lane how many keys to scan; the others are never kept.
    n
        How many entries a row or a column has room for.
    first
        The tile of lane 0.
    kept
        Out: boolean masks, ``(tiles, rows, columns)``.
    """
    tiles, rows, columns = kept.shape
    count = min(lanes, tiles - first)
    if max(rows, columns) <= PACKED_LINES:
        words = np.empty(lanes, np.int64)
        _keep_packed(keys, scanned, rows * columns, min(n, PACKED_LINES), words)
        unpack_masks(words, first, count, kept)
    else:
        for lane in range(count):
            keep_one(keys, lane, lanes, scanned[lane], n, kept[first + lane])
