"""Tiles whose lines in one direction have no more allowed entries than they may hold.

There only the lines of the other direction constrain anything, each for itself: it keeps the
largest that it may, in one pass and without potentials. So it is for every tile that can't be
filled of what is n:m along rows or columns alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.simd.bytes import (
    load_marks,
    load_strip_row,
    non_negative,
    store_marks,
    transpose_tiles,
)
from nmflow.simd.floats import bits_of, load_row, magnitude
from nmflow.simd.integers import any_bits, choose, equal, greater, like
from nmflow.simd.order_statistics import nth_and_next_largest
from nmflow.simd.tile_shape import ROW, TileShape
from nmflow.simd.vectors import VECTOR_BYTES, load, store
from nmflow.solvers.flow.constrained.tile_kinds import BY_COLUMNS, BY_ROWS, SHORT, SOLVED
from nmflow.solvers.flow.simd_engine.strips import aligned

# Blocks that are transposed in registers, but for those of 32, which are four.
_SIDES = (2, 4, 8, 16, 32)


def selects(tile: tuple[int, int], columns: int) -> bool:
    """Whether :func:`select_lines` takes tiles of that shape, side by side in so many columns."""
    height, width = tile
    return height == width and width in _SIDES and columns >= max(ROW, width)


def select_lines(
    values: NDArray[Any],
    unsigned: bool,
    bounds: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    kinds: NDArray[np.uint8],
    shape: TileShape,
    mask: NDArray[np.bool_],
) -> None:
    """Write the masks of all tiles that keep the largest of each column, or of each row.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (B, R, C), C-contiguous
        Finite.
    unsigned : bool
        Whether the scores are these without their signs; others below 0 are not kept.
    bounds : (ndarray, ndarray) of bool, shape (B, R, C), C-contiguous
        What is allowed, and what is forced.
    kinds : ndarray of uint8, shape (B, I, J)
        BY_COLUMNS and BY_ROWS become SOLVED where the mask is written, SHORT where it would depend
        on ties.
    shape : TileShape
        Of tiles that :func:`selects` takes.
    mask : ndarray of bool, shape (B, R, C)
        Written; the last axis contiguous.
    """
    allowed, forced = (part.view(np.uint8).reshape(-1) for part in bounds)
    key = np.int32 if values.dtype == np.float32 else np.int64
    size = shape.halves * ROW
    lanes, zeros, tied = (aligned(k * size, key) for k in (shape.m, shape.m, 1))
    _select(
        *(values.reshape(-1), not unsigned),
        *(allowed, forced, bool(forced.any()), mask.view(np.uint8)),
        *(kinds, shape, lanes, zeros, tied, aligned(size, np.uint8)),
    )


@compile_kernel(nrt=False)
def _select(
    values, signed, allowed, forced, any_forced, mask, kinds, shape, lanes, zeros, tied, marks
):
    """As :func:`select_lines`; what is read is flat.

    ``zeros`` stay so; ``lanes``, ``tied`` and ``marks`` are scratch memory.
    """
    matrices, rows, columns = mask.shape
    width = shape.m * shape.tiles
    for b in range(matrices):
        for top in range(0, rows, shape.m):
            of_tile = kinds[b, top // shape.m]
            for left in range(0, columns, width):
                # The last strip overlaps the one before where the columns don't fill it.
                left_most = min(left, columns - width)
                start = (b * rows + top) * columns + left_most
                for kind in (BY_COLUMNS, BY_ROWS):
                    some = of_tile[left_most // shape.m : left_most // shape.m + shape.tiles]
                    count = count_of(some, kind)
                    if count == 0:
                        continue
                    read_keys(values, signed, allowed, start, columns, lanes, shape)
                    if any_forced:
                        force(forced, start, columns, lanes, shape)
                    if kind == BY_ROWS:
                        transpose_tiles(lanes, shape)
                    ties = rank(lanes, zeros, tied, shape)
                    if kind == BY_ROWS:
                        transpose_tiles(lanes, shape)
                    whole = count == shape.tiles and ties == 0
                    if whole:
                        some[:] = SOLVED
                    else:
                        settle(some, kind, tied, marks, shape)
                    write(lanes, whole, marks, mask[b], top, left_most, shape)


@helper
def count_of(kinds, kind):
    """How many tiles are of a kind."""
    count = 0
    for t in range(kinds.size):
        count += kinds[t] == kind
    return count


@helper
def read_keys(values, signed, allowed, start, columns, lanes, shape):
    """Integers in the order of the scores; less than 0 where nothing may be kept."""
    for i in range(shape.m):
        for half in range(shape.halves):
            place = start + i * columns + half * ROW
            score = load_row(values, place)
            key = bits_of(magnitude(score))
            free = load_marks(allowed, place, key)
            if signed:
                free = free & non_negative(score, key)
            store(lanes, (i * shape.halves + half) * ROW, choose(free, key, like(key, -1)))


@helper
def force(forced, start, columns, lanes, shape):
    """Keys above those of all scores where an entry must be kept."""
    for i in range(shape.m):
        for half in range(shape.halves):
            at = (i * shape.halves + half) * ROW
            key = load_strip_row(lanes, at)
            must = load_marks(forced, start + i * columns + half * ROW, key)
            # All bits but the sign.
            highest = like(key, -1) ^ (like(key, 1) << like(key, 8 * lanes.itemsize - 1))
            store(lanes, at, choose(must, highest, key))


@helper
def rank(lanes, zeros, tied, shape):
    """-1 instead of the n largest keys of each column, else 0; and not 0 in ``tied`` if it ties.

    Returns 0 if none does.
    """
    ties = 0
    vector = VECTOR_BYTES // lanes.itemsize
    pitch = shape.halves * ROW
    for x in range(0, pitch, vector):
        upper, lower = nth_and_next_largest(lanes, x, pitch, zeros, shape)
        alike = equal(upper, lower) & greater(lower, like(lower, -1))
        store(tied, x, alike)
        ties |= any_bits(alike)
        for k in range(x, shape.m * pitch, pitch):
            store(lanes, k, greater(load(lanes, k), lower))
    return ties


@helper
def settle(kinds, kind, tied, marks, shape):
    """Say which of a strip's tiles of a kind are solved, and mark their columns."""
    for t in range(kinds.size):
        chosen = kinds[t] == kind
        if chosen:
            kinds[t] = SOLVED
            for x in range(t * shape.m, (t + 1) * shape.m):
                if tied[x] != 0:
                    kinds[t] = SHORT
        for x in range(t * shape.m, (t + 1) * shape.m):
            marks[x] = chosen and kinds[t] == SOLVED


@helper
def write(lanes, whole, marks, mask, top, left, shape):
    """Write a strip's masks, the whole of it or in the marked columns alone."""
    for i in range(shape.m):
        for half in range(shape.halves):
            kept = load_strip_row(lanes, (i * shape.halves + half) * ROW)
            chosen = like(kept, -1) if whole else load_marks(marks, half * ROW, kept)
            store_marks(mask[top + i], left + half * ROW, kept, chosen)
