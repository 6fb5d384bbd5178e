"""Tiles side by side: the entry (i, j) of many tiles lies in one row of memory, a tile a lane.

Loops over lanes are what LLVM makes vector instructions of. Scores become 32-bit integers, each
tile's times a power of two of its own. What is found in them are prices that may be wrong, or prove
too little: :mod:`nmflow.proof.checker` decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper, unaliased
from nmflow.compiling.structs import Struct
from nmflow.proof.lines import spread

# What a score may be after scaling, in bits: floats of 32 bits have as many.
SCORE_BITS = 24
# So that prices, which are sums of a few, are floats of a type.
BITS_FOR = {np.dtype(np.float32): SCORE_BITS - 3, np.dtype(np.float64): SCORE_BITS}
# What is pruned is that much above its score, out of the reach of prices, which stay well below.
OUT_OF_REACH = np.int32(1 << 30)
# Entries of a block, which is to stay in a core's first cache; but few lanes cost more.
_ENTRIES = 1 << 12
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
    scores : ndarray of int32, shape (r, c, lanes)
        Of what is kept rounded down; of what is pruned rounded up, and out of reach.
    u, v : ndarray of int32, shapes (r, lanes), (c, lanes)
        Prices.
    scale : ndarray of float64, shape (lanes,)
        What the scores were multiplied by.
    line, before : ndarray of int32, shapes (r + c, lanes), (c, lanes)
        For anything.
    row, quarters, sixteenths : ndarray of int32, shape (C,)
        A row of the tiles as it lies in the window; and for anything.
    row_scale, spare : ndarray of float32 or float64, shape (C,)
        What its scores are multiplied by; and for anything.
    largest : ndarray of float32 or float64, shape (C,)
        The largest score of each column.
    largest_pattern : ndarray of int32 or int64, shape (C,)
        The same memory as ``largest``, see :func:`signed_patterns_of`.
    """

    scores: NDArray[np.int32]
    u: NDArray[np.int32]
    v: NDArray[np.int32]
    scale: NDArray[np.float64]
    line: NDArray[np.int32]
    before: NDArray[np.int32]
    row: NDArray[np.int32]
    quarters: NDArray[np.int32]
    sixteenths: NDArray[np.int32]
    row_scale: NDArray[Any]
    spare: NDArray[Any]
    largest: NDArray[Any]
    largest_pattern: NDArray[Any]

    @classmethod
    def of(cls, tile: tuple[int, int], scores: NDArray[Any]) -> Block:
        """For the tiles of a window."""
        rows, columns = tile
        width = scores.shape[2]
        largest = np.empty(width, scores.dtype)
        tiles = scores.size // (rows * columns)
        lanes = min(max(_ENTRIES // (rows * columns), _FEWEST_LANES), tiles)
        return cls(
            np.empty((rows, columns, lanes), np.int32),
            np.empty((rows, lanes), np.int32),
            np.empty((columns, lanes), np.int32),
            np.empty(lanes),
            np.empty((rows + columns, lanes), np.int32),
            np.empty((columns, lanes), np.int32),
            *np.empty((3, width), np.int32),
            *np.empty((2, width), scores.dtype),
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
    rows, columns, _ = block.scores.shape
    lane = 0
    while lane < count:
        b, i, j = place_of(first + lane, scores.shape[1] // rows, across)
        # Those that lie in the same row of tiles.
        run = min(count - lane, across - j)
        top, left, right = i * rows, j * columns, (j + run) * columns
        scale = block.scale[lane : lane + run]
        largest = block.largest_pattern[: right - left]
        for x in range(largest.size):
            largest[x] = 0
        for k in range(top, top + rows):
            find_largest(patterns[b, k, left:right], limits[2], largest)
        find_largest_of_each(block.largest, block.spare, columns, scale)
        set_scales(scale, scale.view(np.int64), limits, bits)
        row_scale, whole = block.row_scale[: right - left], block.row[: right - left]
        narrow(scale, block.largest[:run])
        spread(block.largest[:run], columns, row_scale, block.spare)
        for k in range(rows):
            row, kept = scores[b, top + k, left:right], mask[b, top + k, left:right]
            scale_row(row, kept, unsigned, row_scale, whole)
            deal(whole, columns, block.scores[k], lane, block)
        lane += run


@unaliased
def find_largest(patterns, digits, largest):
    """The largest score of each column, after one more row."""
    for x in range(patterns.size):
        # Of floats that are not negative the larger one has the larger pattern.
        size = patterns[x] & digits
        largest[x] = size if size > largest[x] else largest[x]


@helper
def find_largest_of_each(largest, spare, columns, scale):
    """The largest score of each tile; both arrays are lost."""
    while columns % 2 == 0:
        columns //= 2
        larger_ones(largest, spare[: scale.size * columns])
        largest, spare = spare, largest
    for t in range(scale.size):
        most = largest[t * columns]
        for j in range(t * columns + 1, (t + 1) * columns):
            most = largest[j] if largest[j] > most else most
        scale[t] = most


@unaliased
def larger_ones(numbers, larger):
    """The larger one of each pair."""
    for t in range(larger.size):
        first, second = numbers[2 * t], numbers[2 * t + 1]
        larger[t] = first if first > second else second


@unaliased
def narrow(scale, to):
    """Copy the scales of tiles; they are powers of two, which floats of any width hold."""
    for t in range(scale.size):
        to[t] = scale[t]


@helper
def set_scales(scale, exponents, limits, bits):
    """Of the largest scores of tiles: the powers of two that leave them so many bits."""
    for t in range(scale.size):
        exponent = 2 * _BIAS - 1 + bits - (exponents[t] >> _MANTISSA_BITS)
        exponents[t] = min(max(exponent, limits[0]), limits[1]) << _MANTISSA_BITS


@unaliased
def scale_row(row, kept, unsigned, scale, whole_row):
    """Kept scores rounded down; pruned ones up, and out of reach."""
    for x in range(row.size):
        scaled = (abs(row[x]) if unsigned else row[x]) * scale[x]
        whole = np.int32(scaled)
        back = row.dtype.type(whole)
        down = np.int32(whole - np.int32(back > scaled))
        up = np.int32(np.int32(whole + np.int32(back < scaled)) + OUT_OF_REACH)
        whole_row[x] = down if kept[x] else up


@helper
def deal(row, columns, to, lane, block):
    """Deal the entries of a row to their columns, a tile a lane, from that lane on.

    LLVM makes vectors of it where every other entry, or every fourth one, goes the same way.
    """
    size = row.size
    run = size // columns
    if columns == 4:
        fours(row, to[0, lane:], to[1, lane:], to[2, lane:], to[3, lane:])
        return
    if columns not in (8, 16, 32):
        for j in range(columns):
            pick(row, j, columns, to[j, lane : lane + run])
        return
    quarters = block.quarters[:size].reshape(4, size // 4)
    fours(row, quarters[0], quarters[1], quarters[2], quarters[3])
    for r in range(4):
        if columns == 8:
            twos(quarters[r], to[r, lane:], to[r + 4, lane:])
        elif columns == 16:
            ends = to[r, lane:], to[r + 4, lane:], to[r + 8, lane:], to[r + 12, lane:]
            fours(quarters[r], ends[0], ends[1], ends[2], ends[3])
        else:
            parts = block.sixteenths[: size // 4].reshape(4, size // 16)
            fours(quarters[r], parts[0], parts[1], parts[2], parts[3])
            for k in range(4):
                twos(parts[k], to[r + 4 * k, lane:], to[r + 4 * k + 16, lane:])


@unaliased
def fours(row, a, b, c, d):
    """Every fourth entry of a row to each of these."""
    for k in range(row.size // 4):
        a[k] = row[4 * k]
        b[k] = row[4 * k + 1]
        c[k] = row[4 * k + 2]
        d[k] = row[4 * k + 3]


@unaliased
def twos(row, a, b):
    """Every other entry of a row to each of these."""
    for k in range(row.size // 2):
        a[k] = row[2 * k]
        b[k] = row[2 * k + 1]


@unaliased
def pick(row, first, step, to):
    """Every so many-th entry of a row."""
    for t in range(to.size):
        to[t] = row[first + t * step]


@helper
def store_prices(first, count, block, row_prices, column_prices):
    """Write the prices of a block's tiles to their places in the window."""
    rows, columns, _ = block.scores.shape
    across, down = row_prices.shape[2], column_prices.shape[1]
    lane = 0
    while lane < count:
        b, i, j = place_of(first + lane, down, across)
        run = min(count - lane, across - j)
        scale = block.scale[lane : lane + run]
        for t in range(run):
            scale[t] = 1 / scale[t]
        for k in range(rows):
            to_row = row_prices[b, i * rows + k, j : j + run]
            store(block.u[k, lane : lane + run], scale, 0, 1, to_row)
        to_columns = column_prices[b, i, j * columns : (j + run) * columns]
        for k in range(columns):
            price = block.v[k, lane : lane + run]
            if columns == 4:
                store(price, scale, k, 4, to_columns)
            else:
                store(price, scale, k, columns, to_columns)
        lane += run


@unaliased
def store(prices, scale, first, step, to):
    """Write prices to every so many-th place."""
    for t in range(prices.size):
        to[first + t * step] = prices[t] * scale[t]
