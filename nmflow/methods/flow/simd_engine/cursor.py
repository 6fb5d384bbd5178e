"""Where pieces lie in a stack of matrices, one after the other."""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import inlined
from nmflow.methods.flow.simd_engine.read import (
    MANY_DIGITS,
    choose_scale,
    scan,
    scan_digits,
    show_tables,
)
from nmflow.methods.flow.simd_engine.strips import forget
from nmflow.methods.flow.simd_engine.warm_start import glance, own_tiles


@inlined
def advance(place, grid, shape):
    """The place after (matrix, row, column), where the next piece begins."""
    _, rows, columns = grid
    matrix, row, column = place
    column += shape.m * shape.tiles
    if column >= columns:
        column = 0
        row += shape.m
        if row >= rows:
            row = 0
            matrix += 1
    return matrix, row, column


@inlined
def position_of(place, grid, stride, shape):
    """Where a piece lies in the array; the last one of a row may overlap the one before it."""
    matrix, row, column = place
    return matrix * grid[0] + row * stride + min(column, grid[2] - shape.m * shape.tiles)


@inlined
def next_pieces(weights, grid, problem, pieces, place, total, rest, shows, memory, shape, signed):
    """Take the next pieces of the matrices into the panel; how many, or -1 if not finite.

    Also returns the place after them, and how many are left. Pieces whose remembered mask is still
    proved are passed over. Where the panel ``shows`` tables, those with room for them get them now.
    """
    forget(pieces, shape)
    slot = 0
    while slot < shape.pieces and rest > 0:
        position = position_of(place, grid, problem.stride, shape)
        ordinal = total - rest
        column = place[2]
        place = advance(place, grid, shape)
        rest -= 1
        proved, last = False, MANY_DIGITS
        if memory is None and shows:
            most, last = scan_digits(weights, position, problem.stride, shape)
        elif memory is None:
            most = scan(weights, position, problem.stride, shape)
        else:
            proved, most = glance(weights, position, ordinal, problem.stride, memory, shape, signed)
        if not choose_scale(most, problem, pieces, slot):
            return -1, place, rest
        if memory is not None:
            own = np.int16(-1 << max(column + shape.m * shape.tiles - grid[2], 0))
            if proved:
                memory.counters[1] += own_tiles(own, shape)
                continue
            pieces.ordinal[slot] = ordinal
            pieces.own[slot] = own
        pieces.position[slot] = position
        if shows:
            show_tables(weights, problem, pieces, slot, last, shape)
        slot += 1
    return slot, place, rest


@inlined
def note_ahead(grid, problem, pieces, ahead, rest, shape):
    """Note where the pieces lie that are to be fetched; the place after them."""
    pieces.fetched[0] = max(min(shape.pieces, rest), 0)
    for slot in range(pieces.fetched[0]):
        pieces.ahead[slot] = position_of(ahead, grid, problem.stride, shape)
        ahead = advance(ahead, grid, shape)
    return ahead
