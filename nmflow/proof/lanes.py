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

# What a score may be after scaling, in bits: floats of 32 bits have as many.
SCORE_BITS = 24
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
    low, high : ndarray of int32, shape (r, c, lanes)
        Scores rounded down and up.
    u, v : ndarray of int32, shapes (r, lanes), (c, lanes)
        Prices.
    scale : ndarray of float64, shape (lanes,)
        What the scores were multiplied by.
    offset : ndarray of int64, shape (lanes,)
        How many columns a tile lies to the right of the first one in its row of tiles.
    line : ndarray of int32, shape (2, r + c, lanes)
        For anything.
    row : ndarray of int32, shape (2, C)
        A row of the tiles as it lies in the window.
    row_scale, largest : ndarray of float32 or float64, shape (C,)
        What its scores are multiplied by, and the largest score of each column.
    largest_pattern : ndarray of int32 or int64, shape (C,)
        The same memory as ``largest``, see :func:`signed_patterns_of`.
    """

    low: NDArray[np.int32]
    high: NDArray[np.int32]
    u: NDArray[np.int32]
    v: NDArray[np.int32]
    scale: NDArray[np.float64]
    offset: NDArray[np.int64]
    line: NDArray[np.int32]
    row: NDArray[np.int32]
    row_scale: NDArray[Any]
    largest: NDArray[Any]
    largest_pattern: NDArray[Any]

    @classmethod
    def of(cls, tile: tuple[int, int], tiles: int, scores: NDArray[Any]) -> Block:
        """For at most so many tiles of a window."""
        rows, columns = tile
        width = scores.shape[2]
        largest = np.empty(width, scores.dtype)
        lanes = min(max(_ENTRIES // (rows * columns), _FEWEST_LANES), tiles)
        return cls(
            np.empty((rows, columns, lanes), np.int32),
            np.empty((rows, columns, lanes), np.int32),
            np.empty((rows, lanes), np.int32),
            np.empty((columns, lanes), np.int32),
            np.empty(lanes),
            np.empty(lanes, np.int64),
            np.empty((2, rows + columns, lanes), np.int32),
            np.empty((2, width), np.int32),
            np.empty(width, scores.dtype),
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
def run_of(tiles, lane, across):
    """How many tiles from the one of that lane on lie in the same row of tiles."""
    end = tiles[lane] - tiles[lane] % across + across
    run = 1
    while lane + run < tiles.size and tiles[lane + run] < end:
        run += 1
    return run


@helper
def load(scores, patterns, mask, tiles, across, limits, bits, block):
    """Read tiles, as :func:`place_of` counts them, in ascending order."""
    rows, columns, _ = block.low.shape
    lane = 0
    while lane < tiles.size:
        b, i, j = place_of(tiles[lane], scores.shape[1] // rows, across)
        run = run_of(tiles, lane, across)
        left = j * columns
        right = left + (tiles[lane + run - 1] - tiles[lane] + 1) * columns
        top = i * rows
        offset, scale = block.offset[lane : lane + run], block.scale[lane : lane + run]
        row_scale = block.row_scale[: right - left]
        for t in range(run):
            offset[t] = (tiles[lane + t] - tiles[lane]) * columns
        set_scales(patterns[b], top, rows, left, columns, limits, bits, block, offset, scale)
        for x in range(row_scale.size):
            row_scale[x] = 0
        for t in range(run):
            factor = scale[t]
            for k in range(columns):
                row_scale[offset[t] + k] = factor
        for k in range(rows):
            row, kept = scores[b, top + k, left:right], mask[b, top + k, left:right]
            load_row(row, kept, row_scale, offset, block.row, block.low[k], block.high[k], lane)
        lane += run


@helper
def set_scales(patterns, top, rows, left, columns, limits, bits, block, offset, scale):
    """Of each tile of a row of tiles: the power of two that leaves its scores so many bits."""
    largest = block.largest_pattern[: offset[offset.size - 1] + columns]
    for x in range(largest.size):
        largest[x] = 0
    for i in range(top, top + rows):
        row = patterns[i, left : left + largest.size]
        for x in range(row.size):
            # Of floats that are not negative the larger one has the larger pattern.
            size = row[x] & limits[2]
            largest[x] = size if size > largest[x] else largest[x]
    for t in range(scale.size):
        most = block.largest[offset[t]]
        for j in range(1, columns):
            size = block.largest[offset[t] + j]
            most = size if size > most else most
        scale[t] = most
    exponents = scale.view(np.int64)
    for t in range(scale.size):
        exponent = 2 * _BIAS - 1 + bits - (exponents[t] >> _MANTISSA_BITS)
        exponents[t] = min(max(exponent, limits[0]), limits[1]) << _MANTISSA_BITS


@helper
def load_row(row, kept, scale, offset, whole_row, low, high, lane):
    """Kept scores rounded down, pruned ones up; what the other array holds there is out of reach.

    So the least over a row of the one is that of its kept scores, and the largest over a column of
    the other that of its pruned ones.
    """
    run = offset.size
    lows, highs = whole_row[0], whole_row[1]
    for x in range(row.size):
        scaled = row[x] * scale[x]
        whole = np.int32(scaled)
        back = row.dtype.type(whole)
        lows[x] = np.int32(whole - np.int32(back > scaled)) if kept[x] else OUT_OF_REACH
        highs[x] = BELOW_REACH if kept[x] else np.int32(whole + np.int32(back < scaled))
    for j in range(low.shape[0]):
        to_low, to_high = low[j, lane : lane + run], high[j, lane : lane + run]
        for t in range(run):
            to_low[t] = lows[offset[t] + j]
            to_high[t] = highs[offset[t] + j]


@helper
def store_prices(tiles, block, row_prices, column_prices):
    """Write the prices of a block's tiles to their places in the window."""
    rows, columns, _ = block.low.shape
    across, down = row_prices.shape[2], column_prices.shape[1]
    lane = 0
    while lane < tiles.size:
        b, i, j = place_of(tiles[lane], down, across)
        run = run_of(tiles, lane, across)
        offset, scale = block.offset[lane : lane + run], block.scale[lane : lane + run]
        for t in range(run):
            scale[t] = 1 / scale[t]
        for k in range(rows):
            price, to_row = block.u[k, lane : lane + run], row_prices[b, i * rows + k]
            for t in range(run):
                to_row[j + tiles[lane + t] - tiles[lane]] = price[t] * scale[t]
        to_columns = column_prices[b, i, j * columns :]
        for k in range(columns):
            price = block.v[k, lane : lane + run]
            for t in range(run):
                to_columns[offset[t] + k] = price[t] * scale[t]
        lane += run
