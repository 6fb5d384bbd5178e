"""Pieces with open tiles: what the next stage looks at, and the queue in which they wait."""

from __future__ import annotations

from nmflow.compiling.jit import inlined
from nmflow.methods.flow.simd_engine.enumeration import enumerates
from nmflow.methods.flow.simd_engine.strips import FIRST_SHIFT, copy_piece, move_base, start_base
from nmflow.methods.flow.simd_engine.tile_batch import is_open
from nmflow.methods.flow.simd_engine.warm_start import own_tiles, remember, write_changes
from nmflow.simd.tile_shape import ROW


@inlined
def next_window(pieces, slot, problem, inside, shape):
    """Choose what the next stage looks at; False if there is none.

    A remembered piece whose potentials left the narrow window around them begins anew.
    """
    first = pieces.stage[slot] == 0
    if first and not inside and pieces.shift[slot] < FIRST_SHIFT:
        start_base(pieces, slot, problem, shape)
        pieces.stage[slot] = 1
    else:
        pieces.stage[slot] += 2 if first and not enumerates(shape) else 1
    if pieces.finished[slot] or pieces.stage[slot] == problem.shifts.size:
        return False
    pieces.shift[slot] = problem.shifts[pieces.stage[slot]]
    return True


@inlined
def take(pieces, queue, used, shape):
    """Fill the panel behind ``used`` pieces from the end of the queue; returns both lengths."""
    while used < shape.pieces and queue:
        queue -= 1
        copy_piece(pieces, shape.pieces + queue, used, shape)
        used += 1
    return queue, used


@inlined
def sort_out(
    weights, mask, problem, pieces, used, fresh, panel, queue, left, start, count, shape, signed,
    memory,
):  # fmt: skip
    """Move pieces with open tiles to the queue, or to those left; returns both lengths."""
    for slot in range(used):
        unsettled = is_open(panel, slot, shape)
        inside = True
        if (unsettled or memory is not None) and not pieces.finished[slot]:
            if fresh:
                start_base(pieces, slot, problem, shape)
            inside = move_base(pieces, slot, panel, shape)
        if not unsettled:
            if memory is not None:
                if pieces.stage[slot] == 0:
                    memory.counters[1] += own_tiles(pieces.own[slot], shape)
                remember(pieces, slot, memory, problem, shape)
                write_changes(mask, problem.stride, pieces, slot, panel.words, memory, shape)
        elif not next_window(pieces, slot, problem, inside, shape):
            if memory is not None:
                memory.left[count] = pieces.ordinal[slot]
                remember(pieces, slot, memory, problem, shape)
            put_left(pieces, slot, problem, left, start, count, shape)
            count += 1
        else:
            copy_piece(pieces, slot, shape.pieces + queue, shape)
            queue += 1
    return queue, count


@inlined
def put_left(pieces, slot, problem, left, start, count, shape):
    """Note a piece for the scalar road, its column potentials in the scores' units."""
    left[count] = pieces.position[slot]
    unit = 2.0 ** (pieces.exponent[slot] - problem.fixed_bits)
    for j in range(shape.m * shape.tiles):
        start[count, j] = pieces.v[slot * shape.halves * ROW + j] * unit
