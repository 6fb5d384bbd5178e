"""The one order in which the approximate methods scan a tile.

Entries stand from the largest score to the smallest; of equal scores the lower row-major index
comes first.  That is a total order of the stored values (``-0.0`` equals ``0.0``), so it depends
on nothing but the tile.

An entry is one 64-bit key: above, 32 bits that rise as the score falls; below, its row and its
column, 16 bits each.  Ascending keys are then the order itself.  ``lanes`` tiles are sorted
together by Batcher's odd-even mergesort, a network: no branch depends on the data.  Scores of
float64 are rounded to float32 for the key, which never reverses two of them, and entries whose
rounded scores agree are put in order by their true scores afterwards.

References
----------
K. E. Batcher, "Sorting networks and their applications", AFIPS Spring Joint Computer
Conference 32, 1968.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper
from nmflow.simd.vectors import VECTOR_BYTES, load, maximum, minimum, store

KEYS_PER_VECTOR = VECTOR_BYTES // 8
LINE_BITS = 16  # of the column in a key; the row stands above it
LINE_MASK = (1 << LINE_BITS) - 1
SCORE_SHIFT = 32
LAST_KEY = np.int64(np.iinfo(np.int64).max)  # fills the network up to a power of two
CHUNK = 256  # entries sorted on their own first: they stay in the first-level cache

# Enough lanes to hide latencies in small tiles, few enough for large ones to stay in cache.
_GROUP_KEYS = 16384
_MAX_LANES = 64

# (rounded scores, the same bits as integers, row << 16 | column of each entry, keys, natural)
Scratch = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


@helper
def network_size(entries: int) -> int:
    """Return the smallest power of two that holds ``entries`` keys."""
    size = 1
    while size < entries:
        size *= 2
    return size


@helper
def lane_count(size: int) -> int:
    """Return how many tiles of ``size`` keys are sorted together."""
    return max(KEYS_PER_VECTOR, min(_MAX_LANES, _GROUP_KEYS // size))


@helper
def tile_scale(tile: NDArray[Any]) -> float:
    """Return a power of two that brings the largest magnitude of a tile near one.

    Multiplying by it is exact but where the product is subnormal, and monotone everywhere.
    """
    largest = 0.0
    for score in tile:
        largest = max(largest, abs(np.float64(score)))
    _, exponent = math.frexp(largest)
    # 2**1000 is finite and so is its inverse; it brings any float64 into float32's range.
    return math.ldexp(1.0, max(-1000, min(1000, -exponent)))


@helper
def score_key(bits: np.int32) -> np.int64:
    """Map the bits of a float32 to an integer that rises as the float falls.

    Both zeros map to -1: the magnitude of a negative score is counted from minus one.
    """
    word = np.int64(bits)
    return ~word if word >= 0 else (word & 0x7FFFFFFF) - 1


@helper
def _fill_lanes(tiles: NDArray[Any], first: int, scratch: Scratch, lanes: int) -> None:
    """Write each tile's keys to its lane, and how many of its scores are not negative."""
    rounded, bits, entries, keys, natural = scratch
    narrow = tiles.itemsize == 4
    for lane in range(lanes):
        index = min(first + lane, tiles.shape[0] - 1)
        scale = 1.0 if narrow else tile_scale(tiles[index])
        count = 0
        for entry in range(entries.size):
            rounded[entry] = np.float32(tiles[index, entry] * scale)
            count += tiles[index, entry] >= 0
        natural[lane] = count
        for entry in range(entries.size):
            keys[entry * lanes + lane] = score_key(bits[entry]) << SCORE_SHIFT | entries[entry]


@helper
def _compare_runs(keys: NDArray[Any], low: int, high: int, length: int) -> None:
    """Order ``length`` keys from ``low`` on against as many from ``high`` on."""
    for offset in range(0, length, KEYS_PER_VECTOR):
        x = load(keys, low + offset)
        y = load(keys, high + offset)
        store(keys, low + offset, minimum(x, y))
        store(keys, high + offset, maximum(x, y))


@helper
def _merge(keys: NDArray[Any], start: int, stop: int, half: int, lanes: int) -> None:
    """Merge neighbouring sorted blocks of ``half`` entries between ``start`` and ``stop``."""
    step = half
    while step:
        for low in range(start + step % half, stop - step, 2 * step):
            # A run that would reach into the next pair of blocks has nothing to compare.
            if (low - start) // (2 * half) == (low - start + step) // (2 * half):
                _compare_runs(keys, low * lanes, (low + step) * lanes, step * lanes)
        step //= 2


@helper
def sort_lanes(keys: NDArray[Any], size: int, lanes: int) -> None:
    """Sort every lane of ``keys`` upwards; ``size`` is a power of two, entry-major."""
    chunk = min(size, CHUNK)
    for start in range(0, size, chunk):
        half = 1
        while half < chunk:
            _merge(keys, start, start + chunk, half, lanes)
            half *= 2
    half = chunk
    while half < size:
        _merge(keys, 0, size, half, lanes)
        half *= 2


@helper
def _settle_lane(
    tile: NDArray[Any], columns: int, keys: NDArray[Any], lane: int, lanes: int
) -> None:
    """Order entries whose rounded scores agree by their true scores, by insertion.

    Equal keys stand in row-major order already, and insertion is stable.
    """
    for position in range(1, tile.size):
        key = keys[position * lanes + lane]
        score = tile[(key >> LINE_BITS & LINE_MASK) * columns + (key & LINE_MASK)]
        place = position
        while place:
            before = keys[(place - 1) * lanes + lane]
            if before >> SCORE_SHIFT != key >> SCORE_SHIFT:
                break
            if tile[(before >> LINE_BITS & LINE_MASK) * columns + (before & LINE_MASK)] >= score:
                break
            keys[place * lanes + lane] = before
            place -= 1
        keys[place * lanes + lane] = key


@helper
def make_scratch(rows: int, columns: int) -> tuple[Scratch, int]:
    """Allocate what ``order_group`` needs for tiles of one shape; return it and the lanes."""
    size = network_size(rows * columns)
    lanes = lane_count(size)
    rounded = np.empty(rows * columns, np.float32)
    entries = np.empty(rows * columns, np.int64)
    for row in range(rows):
        for column in range(columns):
            entries[row * columns + column] = row << LINE_BITS | column
    keys = np.empty(size * lanes, np.int64)
    return (rounded, rounded.view(np.int32), entries, keys, np.empty(lanes, np.int64)), lanes


@helper
def order_group(
    tiles: NDArray[Any], first: int, columns: int, scratch: Scratch, lanes: int
) -> None:
    """Order the tiles from ``first`` on, a tile a lane.

    Parameters
    ----------
    tiles
        Scores, ``(tiles, entries)``, float32 or float64, finite.
    first
        The tile of lane 0.  Lanes beyond the last tile repeat it.
    columns
        Columns of a tile.
    scratch
        From ``make_scratch``.  Out: the sorted keys, entry-major, and for each lane how many
        of its scores are not negative; these stand first.
    lanes
        Tiles sorted together.
    """
    _, _, entries, keys, _ = scratch
    count = tiles.shape[0]
    size = keys.size // lanes
    _fill_lanes(tiles, first, scratch, lanes)
    keys[entries.size * lanes : size * lanes] = LAST_KEY
    sort_lanes(keys, size, lanes)
    if tiles.itemsize == 8:
        for lane in range(min(lanes, count - first)):
            _settle_lane(tiles[first + lane], columns, keys, lane, lanes)
