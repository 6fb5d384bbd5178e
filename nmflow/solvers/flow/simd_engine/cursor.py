"""Where strips lie in a batch of matrices, one after the other, and which a tile batch takes."""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import inlined
from nmflow.solvers.flow.simd_engine.scale import (
    MANY_DIGITS,
    choose_scale,
    prepare_table,
    scan,
    scan_digits,
)
from nmflow.solvers.flow.simd_engine.strips import reset_strips
from nmflow.solvers.flow.simd_engine.warm_start import check_still_optimal, count_new_tiles


@inlined
def advance(cursor, grid, shape):
    """The cursor (matrix, row, column) of the next strip."""
    _, rows, columns = grid
    matrix, row, column = cursor
    column += shape.m * shape.tiles
    if column >= columns:
        column = 0
        row += shape.m
        if row >= rows:
            row = 0
            matrix += 1
    return matrix, row, column


@inlined
def advance_by(count, cursor, grid, shape):
    """The cursor so many strips further on."""
    for _ in range(count):
        cursor = advance(cursor, grid, shape)
    return cursor


@inlined
def position_of(cursor, grid, stride, shape):
    """The index of a strip's first entry in the flat array.

    The last strip of a row of tiles overlaps the one before it where the columns don't fill it.
    """
    matrix, row, column = cursor
    return matrix * grid[0] + row * stride + min(column, grid[2] - shape.m * shape.tiles)


@inlined
def next_strips(
    weights, grid, config, strips, cursor, total, remaining, with_tables, warm_start, shape, signed
):
    """Take the next strips of the matrices into the slots of a batch, until it is full.

    Parameters
    ----------
    grid, total : see :func:`kernel.solve_full_tiles`
    cursor : (int, int, int)
        Matrix, row and column of the next strip.
    remaining : int
        Strips from there on.
    with_tables : bool
        Whether the batch is read with tie tables: strips in which ties are likely get them.
    warm_start : WarmStart or None
        Strips whose last mask is still optimal are passed over, and counted.

    Returns
    -------
    (int, cursor, int)
        Strips in the batch, or -1 if a weight is not finite; the new cursor and remainder.
    """
    reset_strips(strips, shape)
    slot = 0
    while slot < shape.strips and remaining > 0:
        position = position_of(cursor, grid, config.stride, shape)
        ordinal = total - remaining
        column = cursor[2]
        cursor = advance(cursor, grid, shape)
        remaining -= 1
        still_proved, last = False, MANY_DIGITS
        if warm_start is None and with_tables:
            most, last = scan_digits(weights, position, config.stride, shape)
        elif warm_start is None:
            most = scan(weights, position, config.stride, shape)
        else:
            still_proved, most = check_still_optimal(
                weights, position, ordinal, config.stride, warm_start, shape, signed
            )
        if not choose_scale(most, config, strips, slot):
            return -1, cursor, remaining
        if warm_start is not None:
            non_overlapping = np.int16(-1 << max(column + shape.m * shape.tiles - grid[2], 0))
            if still_proved:
                warm_start.counters[1] += count_new_tiles(non_overlapping, shape)
                continue
            strips.ordinal[slot] = ordinal
            strips.non_overlapping[slot] = non_overlapping
        strips.position[slot] = position
        if with_tables:
            prepare_table(weights, config, strips, slot, last, shape)
        slot += 1
    return slot, cursor, remaining


@inlined
def plan_prefetch(grid, config, strips, prefetch_cursor, remaining, shape):
    """Set the positions of the strips to prefetch; returns the cursor after them."""
    strips.prefetch_count[0] = max(min(shape.strips, remaining), 0)
    for slot in range(strips.prefetch_count[0]):
        strips.prefetch_position[slot] = position_of(prefetch_cursor, grid, config.stride, shape)
        prefetch_cursor = advance(prefetch_cursor, grid, shape)
    return prefetch_cursor
