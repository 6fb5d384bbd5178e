"""``greedy``: the paper's 2-approximation, scan light to heavy and prune what a line still owes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.simd.vectors import load, splat, store
from nmflow.solvers.heuristics.ordering import (
    KEYS_PER_VECTOR,
    LINE_BITS,
    LINE_MASK,
    make_scratch,
    order_group,
)
from nmflow.solvers.heuristics.rounding import PACKED_LINES, unpack_masks


@helper
def _prune_packed(
    keys: NDArray[Any],
    natural: NDArray[Any],
    entries: int,
    owed_rows: int,
    owed_columns: int,
    words: NDArray[Any],
) -> None:
    """Scan tiles of at most 8 by 8 without a branch, several a vector.

    A line's 4-bit counter starts at 8 less what the line owes and stops when its top bit says
    that the line owes nothing; the rows' counters are the low half of a word.
    """
    lanes = words.size
    one = splat(keys, np.int64(1))
    two = splat(keys, np.int64(2))
    three = splat(keys, np.int64(3))
    sixteen = splat(keys, np.int64(LINE_BITS))
    halfway = splat(keys, np.int64(32))
    low = splat(keys, np.int64(PACKED_LINES - 1))
    sign = splat(keys, np.int64(63))
    paid = (PACKED_LINES - owed_columns << 32) + PACKED_LINES - owed_rows
    # A vector product wraps where a line owes nothing and its top bit is a sign.
    start = splat(keys, np.int64(paid)) * splat(keys, np.int64(0x11111111))
    for lane in range(0, lanes, KEYS_PER_VECTOR):
        counters = start
        word = one ^ one
        stop = load(natural, lane)
        for position in range(entries - 1, -1, -1):
            key = load(keys, position * lanes + lane)
            row = key >> sixteen & low
            column = key & low
            row_shift = row << two
            column_shift = (column << two) + halfway
            row_owes = counters >> row_shift >> three & one ^ one
            column_owes = counters >> column_shift >> three & one ^ one
            inside = (splat(keys, np.int64(position)) - stop) >> sign & one
            keep = ((row_owes | column_owes) ^ one) & inside
            # A line that owes nothing more stops counting, or its counter would overflow.
            counters = counters + (row_owes << row_shift) + (column_owes << column_shift)
            word = word | keep << (row << three) + column
        store(words, lane, word)


@helper
def _prune_one(
    keys: NDArray[Any],
    lane: int,
    lanes: int,
    natural: int,
    owed_rows: int,
    owed_columns: int,
    kept: NDArray[Any],
) -> None:
    """Scan one lane's keys backwards into the mask ``kept`` of its tile."""
    rows, columns = kept.shape
    row_owes = np.full(rows, owed_rows, np.int32)
    column_owes = np.full(columns, owed_columns, np.int32)
    for position in range(rows * columns - 1, -1, -1):
        key = keys[position * lanes + lane]
        row = key >> LINE_BITS & LINE_MASK
        column = key & LINE_MASK
        # Without a branch: whether a line still owes is what no processor predicts.
        prune = (row_owes[row] > 0) | (column_owes[column] > 0) | (position >= natural)
        row_owes[row] -= prune
        column_owes[column] -= prune
        kept[row, column] = not prune


@compile_kernel
def solve_batch(scores: NDArray[Any], columns: int, n: int, full: bool, kept: NDArray[Any]) -> None:
    """Solve tiles group by group."""
    tiles, rows, columns = kept.shape
    owed_rows = max(0, columns - n)
    owed_columns = max(0, rows - n)
    scratch, lanes = make_scratch(rows, columns)
    _, _, entries, keys, natural = scratch
    words = np.empty(lanes, np.int64)
    for first in range(0, tiles, lanes):
        count = min(lanes, tiles - first)
        order_group(scores, first, columns, scratch, lanes)
        if full:
            natural[:] = entries.size
        if max(rows, columns) <= PACKED_LINES:
            _prune_packed(keys, natural, entries.size, owed_rows, owed_columns, words)
            unpack_masks(words, first, count, kept)
        else:
            for lane in range(count):
                tile = kept[first + lane]
                _prune_one(keys, lane, lanes, natural[lane], owed_rows, owed_columns, tile)


def solve_tiles(
    scores: NDArray[Any], n: int, full: bool, _method: object = None, /
) -> NDArray[np.bool_]:
    """Masks that prune entries, lightest first, while row or column owes one.

    A row of length c owes max(0, c - n) pruned entries, a column of length r max(0, r - n). For
    scores >= 0 the pruned sum is at most twice the least possible; lines are left under-filled,
    nearly always. Of equal scores the one with the higher row-major index is pruned first. On
    partial tiles a negative score is always pruned, before all others, and counts towards what its
    row and its column owe.

    Takes and returns what :class:`nmflow.solvers.interface.TileSolver` says.

    References
    ----------
    I. Hubara, B. Chmiel, M. Island, R. Banner, J. Naor, D. Soudry, "Accelerated Sparse Neural
    Training: A Provable and Efficient Method to Find N:M Transposable Masks", NeurIPS 2021,
    arXiv 2102.08124: the 2-approximation algorithm.
    """
    kept = np.empty(scores.shape, np.bool_)
    solve_batch(scores.reshape(len(scores), -1), scores.shape[2], n, full, kept)
    return kept
