"""Where pieces lie in a stack of matrices, one after the other."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from nmflow.kernels.lanes_read import FIRST_SHIFT, both_in_sight, choose_tables, scan


@register_jitable(forceinline=True)
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


@register_jitable(forceinline=True)
def position_of(place, grid, stride, shape):
    """Where a piece lies in the array; the last one of a row may overlap the one before it."""
    matrix, row, column = place
    return matrix * grid[0] + row * stride + min(column, grid[2] - shape.m * shape.tiles)


@register_jitable(forceinline=True)
def next_pieces(weights, grid, problem, pieces, place, total, rest, tied, shape):
    """Take the next pieces of the matrices into the panel; how many, or -1 if not finite.

    If the last ones had ties, these get tables at once where all their digits fit above.
    """
    used = min(shape.pieces, rest)
    for slot in range(used):
        pieces.position[slot] = position_of(place, grid, problem.stride, shape)
        pieces.ordinal[slot] = total - rest + slot
        beyond = max(place[2] + shape.m * shape.tiles - grid[2], 0)
        pieces.own[slot] = np.int16(-1 << beyond)
        pieces.stage[slot] = 0
        pieces.shift[slot] = FIRST_SHIFT
        place = advance(place, grid, shape)
        if not scan(weights, problem, pieces, slot, shape):
            return -1, place
        if tied and choose_tables(weights, problem, pieces, slot, shape):
            pieces.shown[slot] = both_in_sight(pieces, slot, problem)
    return used, place


@register_jitable(forceinline=True)
def note_ahead(grid, problem, pieces, ahead, rest, shape):
    """Note where the pieces lie that are to be fetched; the place after them."""
    pieces.fetched[0] = max(min(shape.pieces, rest), 0)
    for slot in range(pieces.fetched[0]):
        pieces.ahead[slot] = position_of(ahead, grid, problem.stride, shape)
        ahead = advance(ahead, grid, shape)
    return ahead
