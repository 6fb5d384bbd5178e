"""Tiles side by side: the entry (i, j) of many tiles lies in one row of memory, a tile a lane.

Loops over lanes are what LLVM makes vector instructions of. Scores become 32-bit integers, each
tile's times a power of two of its own. What is found in them are prices that may be wrong, or prove
too little: :mod:`nmflow.proof.checker` decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper
from nmflow.compiling.structs import Struct
from nmflow.proof.lines import repeat, repeat_four_times

# What a score may be after scaling, in bits: floats of 32 bits have as many.
SCORE_BITS = 24
# So that prices, which are sums of a few, are floats of a type.
BITS_FOR = {np.dtype(np.float32): SCORE_BITS - 3, np.dtype(np.float64): SCORE_BITS}
# Prices stay below 2**29, so that a score of 2**30 is out of their reach, and sums fit 32 bits.
OUT_OF_REACH = np.int32(1 << 30)
BELOW_REACH = np.int32(-(1 << 30))
# Entries of a block; what is held of them in memory is to fit a core's cache.
_ENTRIES = 1 << 15
_FEWEST_LANES = 32

# A float64's exponent, and what is added to it there.
_MANTISSA_BITS = 52
_BIAS = 1023
# Powers of two that have an inverse, of float32 and of float64.
_NARROW_SCALES = (_BIAS - 126, _BIAS + 126)
_WIDE_SCALES = (1, 2 * _BIAS - 1)


class Block(Struct):
    """Memory for as many tiles as are worked on at a time.

    Attributes
    ----------
    both, low, high : ndarray of int32, shapes (2, r, c, lanes), (r, c, lanes)
        Scores rounded down, and up: two names for each half of the same memory.
    u, v : ndarray of int32, shapes (r, lanes), (c, lanes)
        Prices.
    scale : ndarray of float64, shape (lanes,)
        What the scores were multiplied by.
    line : ndarray of int32, shape (2, r + c, lanes)
        For anything.
    row, spare : ndarray of int32, shapes (2, C), (2, C)
        A row of the tiles as it lies in the window, in low and in high; and for anything.
    row_scale, scale_of_four : ndarray of float32 or float64, shapes (C,), (C // 4,)
        What its scores are multiplied by, and the same of four each.
    largest : ndarray of float32 or float64, shape (2, C)
        The largest score of each column; of four columns each.
    largest_pattern : ndarray of int32 or int64, shape (2, C)
        The same memory as ``largest``, see :func:`signed_patterns_of`.
    """

    both: NDArray[np.int32]
    low: NDArray[np.int32]
    high: NDArray[np.int32]
    u: NDArray[np.int32]
    v: NDArray[np.int32]
    scale: NDArray[np.float64]
    line: NDArray[np.int32]
    row: NDArray[np.int32]
    spare: NDArray[np.int32]
    row_scale: NDArray[Any]
    scale_of_four: NDArray[Any]
    largest: NDArray[Any]
    largest_pattern: NDArray[Any]

    @classmethod
    def of(cls, tile: tuple[int, int], scores: NDArray[Any]) -> Block:
        """For the tiles of a window."""
        rows, columns = tile
        width = scores.shape[2]
        largest = np.empty((2, width), scores.dtype)
        tiles = scores.size // (rows * columns)
        lanes = min(max(_ENTRIES // (rows * columns), _FEWEST_LANES), tiles)
        both = np.empty((2, rows, columns, lanes), np.int32)
        return cls(
            both,
            *both,
            np.empty((rows, lanes), np.int32),
            np.empty((columns, lanes), np.int32),
            np.empty(lanes),
            np.empty((2, rows + columns, lanes), np.int32),
            np.empty((2, width), np.int32),
            np.empty((2, width), np.int32),
            np.empty(width, scores.dtype),
            np.empty(width // 4, scores.dtype),
            largest,
            signed_patterns_of(largest),
        )


def signed_patterns_of(scores: NDArray[Any]) -> NDArray[Any]:
    """The bits of floats, as integers."""
    return scores.view(np.int32 if scores.dtype == np.float32 else np.int64)


def scale_limits(scores: NDArray[Any]) -> tuple[int, int, np.signedinteger[Any]]:
    """What scaling such scores is bounded by.

    Two exponents, as a float64 has them, of powers of two that they can be scaled by; and the bits
    of their patterns that are not the sign.
    """
    if scores.dtype == np.float32:
        return *_NARROW_SCALES, np.int32(np.iinfo(np.int32).max)
    return *_WIDE_SCALES, np.int64(np.iinfo(np.int64).max)


@helper
def place_of(tile, down, across):
    """Matrix, tile row and tile column of a tile, counted from left to right and downwards."""
    row = tile // across
    return row // down, row % down, tile % across


@helper
def load(scores, patterns, mask, first, count, across, limits, bits, unsigned, block):
    """Read so many tiles from the first on, as :func:`place_of` counts them."""
    rows, columns, _ = block.low.shape
    lane = 0
    while lane < count:
        b, i, j = place_of(first + lane, scores.shape[1] // rows, across)
        # Those that lie in the same row of tiles.
        run = min(count - lane, across - j)
        top, left, right = i * rows, j * columns, (j + run) * columns
        scale = block.scale[lane : lane + run]
        find_largest(patterns[b], top, rows, left, right, limits, block)
        set_scales(columns, limits, bits, block, scale)
        row_scale = block.row_scale[: right - left]
        if columns % 4:
            repeat(scale, columns, row_scale)
        else:
            repeat(scale, columns // 4, block.scale_of_four)
            repeat_four_times(block.scale_of_four[: row_scale.size // 4], row_scale)
        for k in range(rows):
            row, kept = scores[b, top + k, left:right], mask[b, top + k, left:right]
            scale_row(row, kept, unsigned, row_scale, block.row)
            for which in range(2):
                to = block.both[which, k]
                deal(block.row[which, : row.size], columns, to, lane, run, block.spare)
        lane += run


@helper
def find_largest(patterns, top, rows, left, right, limits, block):
    """The largest score of each column of a row of tiles."""
    largest = block.largest_pattern[0, : right - left]
    for x in range(largest.size):
        largest[x] = 0
    for i in range(top, top + rows):
        row = patterns[i, left:right]
        for x in range(row.size):
            # Of floats that are not negative the larger one has the larger pattern.
            size = row[x] & limits[2]
            largest[x] = size if size > largest[x] else largest[x]


@helper
def set_scales(columns, limits, bits, block, scale):
    """Of each tile of a row of tiles: the power of two that leaves its scores so many bits."""
    length, which = columns, 0
    if columns % 4 == 0:
        length, which = columns // 4, 1
        each, four = block.largest_pattern[0], block.largest_pattern[1]
        for k in range(scale.size * length):
            four[k] = max(each[4 * k], each[4 * k + 1], each[4 * k + 2], each[4 * k + 3])
    largest = block.largest[which]
    for t in range(scale.size):
        most = largest[t * length]
        for j in range(1, length):
            size = largest[t * length + j]
            most = size if size > most else most
        scale[t] = most
    exponents = scale.view(np.int64)
    for t in range(scale.size):
        exponent = 2 * _BIAS - 1 + bits - (exponents[t] >> _MANTISSA_BITS)
        exponents[t] = min(max(exponent, limits[0]), limits[1]) << _MANTISSA_BITS


@helper
def scale_row(row, kept, unsigned, scale, whole_row):
    """Kept scores rounded down, pruned ones up; what the other array holds there is out of reach.

    So the least over a row of the one is that of its kept scores, and the largest over a column of
    the other that of its pruned ones.
    """
    lows, highs = whole_row[0], whole_row[1]
    for x in range(row.size):
        scaled = (abs(row[x]) if unsigned else row[x]) * scale[x]
        whole = np.int32(scaled)
        back = row.dtype.type(whole)
        lows[x] = np.int32(whole - np.int32(back > scaled)) if kept[x] else OUT_OF_REACH
        highs[x] = BELOW_REACH if kept[x] else np.int32(whole + np.int32(back < scaled))


@helper
def deal(row, columns, to, lane, run, spare):
    """Deal the entries of a row to their columns, a tile a lane.

    LLVM makes vectors of it where every other entry, or every fourth one, goes the same way.
    """
    if columns == 4:
        deal_by_four(row, to, 0, 1, lane)
        return
    if columns not in (8, 16):
        for j in range(columns):
            place = to[j, lane : lane + run]
            for t in range(run):
                place[t] = row[t * columns + j]
        return
    length = row.size // 4
    quarters = spare.reshape(-1)[: row.size].reshape(4, length)
    deal_by_four(row, quarters, 0, 1, 0)
    for r in range(4):
        if columns == 8:
            deal_by_two(quarters[r], to, r, 4, lane)
        else:
            deal_by_four(quarters[r], to, r, 4, lane)


@helper
def deal_by_four(row, to, first, step, lane):
    """Entry k goes to lane k // 4 of one of four columns."""
    length = row.size // 4
    a, b = to[first, lane : lane + length], to[first + step, lane : lane + length]
    c, d = to[first + 2 * step, lane : lane + length], to[first + 3 * step, lane : lane + length]
    for k in range(length):
        a[k] = row[4 * k]
        b[k] = row[4 * k + 1]
        c[k] = row[4 * k + 2]
        d[k] = row[4 * k + 3]


@helper
def deal_by_two(row, to, first, step, lane):
    """Entry k goes to lane k // 2 of one of two columns."""
    length = row.size // 2
    a, b = to[first, lane : lane + length], to[first + step, lane : lane + length]
    for k in range(length):
        a[k] = row[2 * k]
        b[k] = row[2 * k + 1]


@helper
def store_prices(first, count, block, row_prices, column_prices):
    """Write the prices of a block's tiles to their places in the window."""
    rows, columns, _ = block.low.shape
    across, down = row_prices.shape[2], column_prices.shape[1]
    lane = 0
    while lane < count:
        b, i, j = place_of(first + lane, down, across)
        run = min(count - lane, across - j)
        scale = block.scale[lane : lane + run]
        for t in range(run):
            scale[t] = 1 / scale[t]
        for k in range(rows):
            price, to_row = block.u[k, lane : lane + run], row_prices[b, i * rows + k, j : j + run]
            for t in range(run):
                to_row[t] = price[t] * scale[t]
        to_columns = column_prices[b, i, j * columns :]
        for k in range(columns):
            price = block.v[k, lane : lane + run]
            for t in range(run):
                to_columns[t * columns + k] = price[t] * scale[t]
        lane += run
