"""Reading strips into lanes: floats -> fixed point -> the 15 bits that a stage looks at.

Each strip has its own power of two, so that its largest score fills the :data:`FIXED_BITS` bits of
the fixed point. There are two ways to write scores in it. *Floored*: lower bits are dropped; a mask
whose kept entries are at least u + v + 1 and whose pruned ones are at most u + v, in units, is
optimal for the true scores. *With a tie table*, where ties are likely (many zeros, or few
significant bits) and where no bit is lost: the scores, and below their last bit the first tie
table, so far down that no sum of its entries reaches that bit.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper, inlined
from nmflow.simd.floats import (
    load_row,
    magnitude,
    to_floats,
    to_int32,
)
from nmflow.simd.integers import (
    differs,
    greater,
    like,
)
from nmflow.simd.layout import broadcast_to_columns, pack_pairs, transpose_store
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store
from nmflow.solvers.flow.simd_engine.fixed_point import (
    LEAST_NORMAL,
    WINDOW_LIMIT,
)


@inlined
def scores(weights, start, signed):
    """16 scores as floats, from ``weights[start]`` on."""
    row = load_row(weights, start)
    return magnitude(row) if signed is None else row


@inlined
def scaled(score, fixed_scale, signed):
    """Scores times a power of two.

    What is below zero stays so where the product underflows, so that it is floored to -1.
    """
    product = score * like(score, fixed_scale)
    if signed is not None:
        # The least normal number is far below one unit.
        zero = like(score, 0)
        product = product + maximum(minimum(score, zero), like(score, -LEAST_NORMAL))
    return product


@inlined
def floor(score, signed):
    """Floor as int32. Magnitudes need no correction."""
    whole = to_int32(score)
    if signed is not None:
        whole = whole + to_int32(greater(to_floats(whole, score), score))
    return whole


@inlined
def exceeds(score, whole, fixed_scale):
    """-1 where a score is more than its floor, if only by what scaling loses to underflow."""
    return to_int32(differs(to_floats(whole, score) * like(score, 1 / fixed_scale), score))


@inlined
def format_of(strips, slot):
    """How a strip is written in fixed point, looked up once for all its rows."""
    return (
        strips.fixed_scale[slot],
        strips.score_shift[slot],
        strips.has_table[slot],
        strips.reads_table[slot],
    )


@inlined
def load_fixed_point(weights, start, line, number_format, config, signed):
    """16 scores of a strip as fixed-point integers.

    Parameters
    ----------
    start : int
        Index of the first.
    line : int
        Row of the tile, times the strips that a tile is wide, plus which of these.
    number_format : tuple
        From :func:`format_of`.
    """
    fixed_scale, score_shift, has_table, reads_table = number_format
    score = scores(weights, start, signed)
    whole = floor(scaled(score, fixed_scale, signed), signed)
    if has_table:
        whole = whole << like(whole, score_shift)
        if reads_table:
            table = load(config.tables, line * ROW)
            whole = whole + (table << like(whole, score_shift - config.table_bits))
    return whole


@inlined
def load_first_stage(weights, start, slot, line, tables, strips, signed):
    """The first stage's part of :func:`load_fixed_point`: the bits from FIRST_SHIFT up.

    Where a tie table is read no score has lower bits, so that the float sum is exact.
    """
    score = scaled(scores(weights, start, signed), strips.coarse_scale[slot], signed)
    if tables is not None:
        table = to_floats(load(tables, line * ROW), score)
        score = score + table * like(score, strips.table_scale[slot])
    return floor(score, signed)


@inlined
def read_first_row(weights, config, tables, strips, packed, i, half, shape, signed):
    """The first stage's row i of all strips, or its right half, as packed pairs."""
    offset, line = i * config.stride + half * ROW, i * shape.halves + half
    for k in range(0, shape.strips, 2):
        start = strips.position[k] + offset
        first = load_first_stage(weights, start, k, line, tables, strips, signed)
        start = strips.position[k + 1] + offset
        second = load_first_stage(weights, start, k + 1, line, tables, strips, signed)
        both = pack_pairs(first, second)
        store(packed, k * ROW, both - like(both, config.window_center))


@helper
def read_first_stage(weights, config, tables, strips, batch, shape, signed):
    """Read the leading 15 bits of a batch into lanes; with the first tie table, or None."""
    pitch = (shape.m + 1) * LANES
    for i in range(shape.m):
        read_first_row(weights, config, tables, strips, batch.packed, i, 0, shape, signed)
        transpose_store(batch.packed, batch.lanes, i * pitch, shape, 0)
        if shape.m > ROW:
            read_first_row(weights, config, tables, strips, batch.packed, i, 1, shape, signed)
            transpose_store(batch.packed, batch.lanes, i * pitch + ROW * LANES, shape, 1)


@inlined
def is_inexact(weights, start, fixed_scale, signed):
    """-1 where a score is more than its floor in fixed point."""
    score = scores(weights, start, signed)
    whole = floor(scaled(score, fixed_scale, signed), signed)
    return exceeds(score, whole, fixed_scale)


@inlined
def load_reduced(weights, slot, i, half, number_format, strips, config, shape, signed):
    """16 reduced costs, in fixed point, for a strip's current potentials."""
    line = i * shape.halves + half
    start = strips.position[slot] + i * config.stride + half * ROW
    score = load_fixed_point(weights, start, line, number_format, config, signed)
    v = load(strips.v, (slot * shape.halves + half) * ROW)
    return (
        score
        - broadcast_to_columns(strips.u, slot * shape.halves * ROW + i * shape.tiles, shape)
        - v
    )


@inlined
def clip_to_window(score, shift):
    """15 bits of each reduced cost from bit ``shift`` up; larger ones saturate."""
    most = like(score, (WINDOW_LIMIT << shift) - 1)
    least = like(score, -(WINDOW_LIMIT << shift))
    return maximum(minimum(score, most), least) >> like(score, shift)


@inlined
def read_window_row(weights, config, strips, packed, i, half, shape, signed):
    """As :func:`read_first_row`, of the reduced costs through each strip's window."""
    for k in range(0, shape.strips, 2):
        number_format = format_of(strips, k)
        first = load_reduced(weights, k, i, half, number_format, strips, config, shape, signed)
        number_format = format_of(strips, k + 1)
        second = load_reduced(weights, k + 1, i, half, number_format, strips, config, shape, signed)
        both = pack_pairs(
            clip_to_window(first, strips.shift[k]), clip_to_window(second, strips.shift[k + 1])
        )
        store(packed, k * ROW, both)


@helper
def read_window(weights, config, strips, batch, shape, signed):
    """Read a batch's reduced costs into lanes, each strip's in units of 2**shift."""
    pitch = (shape.m + 1) * LANES
    for i in range(shape.m):
        read_window_row(weights, config, strips, batch.packed, i, 0, shape, signed)
        transpose_store(batch.packed, batch.lanes, i * pitch, shape, 0)
        if shape.m > ROW:
            read_window_row(weights, config, strips, batch.packed, i, 1, shape, signed)
            transpose_store(batch.packed, batch.lanes, i * pitch + ROW * LANES, shape, 1)
