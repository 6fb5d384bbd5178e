"""The strips of a batch and those in the queue: position, number format, current potentials."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import inlined
from nmflow.compiling.structs import Struct
from nmflow.simd.integers import any_bits, like
from nmflow.simd.layout import as_rows, gather_potentials, tile_totals
from nmflow.simd.tile_shape import LANES, ROW, TileShape
from nmflow.simd.vectors import load, maximum, minimum, store
from nmflow.solvers.flow.simd_engine.fixed_point import (
    FIRST_SHIFT,
    WINDOW_LIMIT,
)


class Strips(Struct, pointers=True):
    """For each slot of a batch, and of the queue behind it, what is known of its strip.

    Attributes
    ----------
    position, prefetch_position : index of the first entry; of that of the next batch's strip
    ordinal : the strip's number in the order of the box
    non_overlapping : the columns that no strip before it has, a bit each
    exponent : its magnitudes are below 2**exponent
    fixed_scale, coarse_scale : powers of two; times a score they give its fixed-point number, and
        what
        the first stage looks at
    table_scale : times a table's entry it gives what the first stage adds; 0 for no table
    has_table, score_shift : whether there are zero bits for the tie table below the scores, which
        are
        then multiples of 2**score_shift
    reads_table : whether the stages add that table
    tried_singly : whether its tiles were tried one by one
    stage, shift : how often it was solved; the low bits that its next stage leaves out
    prefetch_count : (1,) how many of ``prefetch_position`` count
    u, v : current potentials in fixed point; of each row the tiles' in turn, of each tile the
        columns'
    """

    position: NDArray[np.int64]
    prefetch_position: NDArray[np.int64]
    ordinal: NDArray[np.int64]
    non_overlapping: NDArray[np.int16]
    exponent: NDArray[np.int64]
    fixed_scale: NDArray[Any]
    coarse_scale: NDArray[Any]
    table_scale: NDArray[Any]
    has_table: NDArray[np.bool_]
    reads_table: NDArray[np.bool_]
    tried_singly: NDArray[np.bool_]
    score_shift: NDArray[np.int64]
    stage: NDArray[np.int64]
    shift: NDArray[np.int64]
    prefetch_count: NDArray[np.int64]
    u: NDArray[np.int32]
    v: NDArray[np.int32]


def aligned(count: int, kind: Any) -> NDArray[Any]:
    """Zeros that begin at a cache line."""
    raw = np.zeros(count * np.dtype(kind).itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count * np.dtype(kind).itemsize].view(kind)


def new_strips(shape: TileShape, kind: Any) -> Strips:
    """Scratch memory for a batch's strips and, behind them, for a queue of two batches."""
    count = 3 * shape.strips
    return Strips(
        position=np.zeros(count, np.int64),
        prefetch_position=np.zeros(shape.strips, np.int64),
        ordinal=np.zeros(count, np.int64),
        non_overlapping=np.zeros(count, np.int16),
        exponent=np.zeros(count, np.int64),
        fixed_scale=np.zeros(count, kind),
        coarse_scale=np.zeros(count, kind),
        table_scale=np.zeros(count, kind),
        has_table=np.zeros(count, np.bool_),
        reads_table=np.zeros(count, np.bool_),
        tried_singly=np.zeros(count, np.bool_),
        score_shift=np.zeros(count, np.int64),
        stage=np.zeros(count, np.int64),
        shift=np.zeros(count, np.int64),
        prefetch_count=np.zeros(1, np.int64),
        u=aligned(count * shape.halves * ROW, np.int32),
        v=aligned(count * shape.halves * ROW, np.int32),
    )


@inlined
def lane_of(slot, tile, shape):
    """The lane of a strip's tile; see :class:`TileShape`."""
    return tile * shape.strips + slot


@inlined
def fill(array, value, shape):
    """Set an attribute of all strips of a batch."""
    for slot in range(shape.strips):
        array[slot] = value


@inlined
def reset_strips(strips, shape):
    """Begin a batch of strips of which nothing is known."""
    fill(strips.has_table, False, shape)
    fill(strips.reads_table, False, shape)
    fill(strips.tried_singly, False, shape)
    fill(strips.score_shift, 0, shape)
    fill(strips.stage, 0, shape)
    fill(strips.shift, FIRST_SHIFT, shape)


@inlined
def copy_strip(strips, source, target, shape):
    """Copy all that the stages after the first use of a strip to another slot."""
    strips.position[target] = strips.position[source]
    strips.ordinal[target] = strips.ordinal[source]
    strips.non_overlapping[target] = strips.non_overlapping[source]
    strips.exponent[target] = strips.exponent[source]
    strips.fixed_scale[target] = strips.fixed_scale[source]
    strips.coarse_scale[target] = strips.coarse_scale[source]
    strips.has_table[target] = strips.has_table[source]
    strips.reads_table[target] = strips.reads_table[source]
    strips.tried_singly[target] = strips.tried_singly[source]
    strips.score_shift[target] = strips.score_shift[source]
    strips.stage[target] = strips.stage[source]
    strips.shift[target] = strips.shift[source]
    size = shape.halves * ROW
    for k in range(0, size, ROW):
        store(strips.u, target * size + k, load(strips.u, source * size + k))
        store(strips.v, target * size + k, load(strips.v, source * size + k))


@inlined
def reset_potentials(strips, slot, config, shape):
    """Set the current potentials to the origin of the first stage: its middle, and 0."""
    for k in range(slot * shape.halves * ROW, (slot + 1) * shape.halves * ROW, ROW):
        zero = load(strips.v, k) ^ load(strips.v, k)
        store(strips.u, k, like(zero, config.window_center << FIRST_SHIFT))
        store(strips.v, k, zero)


@inlined
def add_clipped(potentials, start, change, shift):
    """Add ``change * 2**shift`` to potentials, clipped to the window; what that takes off.

    Clipped changes are what :mod:`fixed_point` bounds score - u - v by.
    """
    within = minimum(maximum(change, like(change, -WINDOW_LIMIT)), like(change, WINDOW_LIMIT - 1))
    store(potentials, start, load(potentials, start) + (within << like(within, shift)))
    return change - within


@inlined
def clipped_part(value):
    """What :func:`add_clipped` takes off one potential."""
    return np.int32(value - max(min(value, WINDOW_LIMIT - 1), -WINDOW_LIMIT))


@inlined
def mean_potential(v, lane, shape):
    """Of one tile's columns, rounded as in :func:`add_potentials`."""
    total = 0
    for j in range(shape.m):
        total += v[j * LANES + lane]
    return total // shape.m if total >= 0 else -(-total // shape.m)


@inlined
def add_potentials(strips, slot, batch, shape):
    """Add the potentials (units of 2**shift) that a stage found to the current ones of the strip.

    The tile's mean v moves from the columns to the rows first, which changes no reduced cost and
    keeps both small. Returns whether nothing was clipped.
    """
    shift = strips.shift[slot]
    start = slot * shape.halves * ROW
    v = gather_potentials(batch.v, slot, False, 0, shape)
    if shape.halves == 2:
        other = gather_potentials(batch.v, slot, False, 1, shape)
        mean = tile_totals(v + other, shape) // like(v, shape.m)
        outside = add_clipped(strips.v, start + ROW, other - mean, shift)
        u = gather_potentials(batch.u, slot, True, 1, shape)
        outside = outside | add_clipped(strips.u, start + ROW, u + mean, shift)
    else:
        mean = tile_totals(v, shape) // like(v, shape.m)
        outside = v ^ v
    outside = outside | add_clipped(strips.v, start, v - mean, shift)
    u = gather_potentials(batch.u, slot, True, 0, shape)
    outside = outside | add_clipped(strips.u, start, u + as_rows(mean, shape), shift)
    return any_bits(outside) == 0
