"""Reading tiles into lanes: floats -> fixed point of 30 bits -> the 16 bits that a stage looks at.

A *piece* is 16 columns of a row of tiles: four tiles of 4 x 4, or half a tile of 32 x 32. Each
piece has its own power of two, so that its largest score fills the fixed point's bits.

There are two ways to write scores in fixed point. *Floored*: what is left is dropped; a mask whose
kept entries exceed u + v by a unit, and whose pruned ones do not exceed it, is optimal for the
true scores. *Tabled*, for pieces where ties are likely, being full of zeros or of numbers of few
digits, and where there is room: all digits, and the first tie table below them, so far that no
sum of its entries reaches the last digit.
"""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import helper, inlined
from nmflow.methods.flow.simd_engine.dual_ascent import LIMIT
from nmflow.methods.flow.simd_engine.strips import FIRST_SHIFT
from nmflow.simd.floats import (
    NOT_FINITE,
    bits_of,
    exponent_of,
    has_few_digits,
    last_digit,
    load_row,
    magnitude,
    power_of_two,
    to_floats,
    to_int32,
    zero_lanes,
    zeros_last,
)
from nmflow.simd.integers import (
    any_bits,
    differs,
    greater,
    largest_lane,
    like,
    smallest_lane,
)
from nmflow.simd.layout import pack_pairs, spread, transpose_store
from nmflow.simd.lines import first_one
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store

FIXED_BITS = 30
"""Bits of the fixed point: of scores without signs, or of signed ones with theirs."""
MARGIN = 3
"""Bits at least below a table, so that potentials fit between equal sums."""
MANY_DIGITS = -9999
"""Instead of the exponent of the last digit that any score of a piece has."""
UNLIKELY, LIKELY, CERTAIN = 0, 1, 2
"""How far ties are to be expected."""
LEAST_NORMAL = 2.0**-126
"""Of float32."""
LOWEST_EXPONENT = -90
"""Tiles of smaller numbers are not scaled further: the scale itself must be a finite float32."""


@inlined
def scan(weights, start, stride, shape):
    """The bits of a piece's largest magnitudes."""
    most = bits_of(magnitude(load_row(weights, start)))
    for half in range(shape.halves):
        for i in range(shape.m):
            bits = bits_of(magnitude(load_row(weights, start + i * stride + half * ROW)))
            most = maximum(most, bits)
    return most


@helper
def scan_digits(weights, start, stride, shape):
    """As :func:`scan`; and an e such that all scores of few digits are multiples of 2**e."""
    most = every = bits_of(magnitude(load_row(weights, start)))
    least = zeros_last(most)
    for half in range(shape.halves):
        for i in range(shape.m):
            bits = bits_of(magnitude(load_row(weights, start + i * stride + half * ROW)))
            most, every = maximum(most, bits), every | bits
            least = minimum(least, zeros_last(bits))
    last = MANY_DIGITS
    if has_few_digits(every):
        last = last_digit(smallest_lane(least), any_bits(every))
    return most, last


@inlined
def choose_scale(most, problem, pieces, slot):
    """Of a piece with such magnitudes; say whether it is finite."""
    exponent = exponent_of(largest_lane(most))
    if exponent == NOT_FINITE:
        return False
    exponent = max(exponent, LOWEST_EXPONENT)
    pieces.exponent[slot] = exponent
    shift = problem.fixed_bits - exponent
    pieces.scale[slot] = power_of_two(shift, pieces.scale)
    pieces.coarse[slot] = power_of_two(shift - FIRST_SHIFT, pieces.coarse)
    return True


@helper
def choose_tables(weights, problem, pieces, slot, shape):
    """Give a piece tables if ties are likely and all its digits fit above; how likely they are."""
    start, scale = pieces.position[slot], pieces.scale[slot]
    least = every = bits_of(magnitude(load_row(weights, start)))
    digits = more = to_int32(every ^ every)
    for half in range(shape.halves):
        for i in range(shape.m):
            score = magnitude(load_row(weights, start + i * problem.stride + half * ROW))
            least = minimum(least, bits_of(score))
            every = every | bits_of(score)
            whole = to_int32(score * like(score, scale))
            digits = digits | whole
            more = more | exceeds(score, whole, scale)
    # Where half the columns have a zero, the optimum chooses among zeros.
    zeros = zero_lanes(least) >= ROW // 2
    if not (zeros or has_few_digits(every)):
        return UNLIKELY
    unit = min(first_one(np.int64(any_bits(digits))), problem.fixed_bits - 1)
    if any_bits(more) == 0 and unit >= problem.table_bits + MARGIN:
        give_tables(problem, pieces, slot, unit)
    return CERTAIN if zeros else LIKELY


@inlined
def give_tables(problem, pieces, slot, unit):
    """Let the fixed point hold the first table, below all digits."""
    pieces.tabled[slot] = True
    pieces.unit[slot] = unit
    shift = problem.fixed_bits - unit - pieces.exponent[slot]
    pieces.scale[slot] = power_of_two(shift, pieces.scale)


@inlined
def show_tables(weights, problem, pieces, slot, last, shape):
    """Give a piece tables if ties are likely, and show the first one if it fits the first window.

    No closer look is needed where all scores are multiples of 2**last and this leaves room enough,
    for potentials between the sums of tables too.
    """
    in_sight = problem.table_bits + FIRST_SHIFT
    unit = min(problem.fixed_bits - pieces.exponent[slot] + last, problem.fixed_bits - 1)
    if unit > in_sight:
        give_tables(problem, pieces, slot, unit)
    else:
        choose_tables(weights, problem, pieces, slot, shape)
    pieces.shown[slot] = pieces.tabled[slot] and pieces.unit[slot] >= in_sight
    if pieces.shown[slot]:
        pieces.lift[slot] = power_of_two(pieces.unit[slot] - in_sight, pieces.lift)
    else:
        pieces.lift[slot] = 0


@inlined
def scores(weights, place, signed):
    """16 scores as floats."""
    row = load_row(weights, place)
    return magnitude(row) if signed is None else row


@inlined
def scaled(score, scale, signed):
    """Times a power of two. What is below zero stays so where the product underflows."""
    product = score * like(score, scale)
    if signed is not None:
        # The least normal number is far below one unit.
        zero = like(score, 0)
        product = product + maximum(minimum(score, zero), like(score, -LEAST_NORMAL))
    return product


@inlined
def floor(score, signed):
    """As int32. Scores without signs need no correction."""
    whole = to_int32(score)
    if signed is not None:
        whole = whole + to_int32(greater(to_floats(whole, score), score))
    return whole


@inlined
def exceeds(score, whole, scale):
    """-1 where a score is more than its floor, if only by what scaling loses to underflow."""
    return to_int32(differs(to_floats(whole, score) * like(score, 1 / scale), score))


@inlined
def digits_of(pieces, slot):
    """How a piece is written in fixed point: for loops that do not look it up for each row."""
    return pieces.scale[slot], pieces.unit[slot], pieces.tabled[slot], pieces.shown[slot]


@inlined
def fixed_point(weights, place, line, digits, problem, signed):
    """16 scores as 30-bit integers; ``line`` counts the rows (and halves) of the tables."""
    scale, unit, tabled, shown = digits
    score = scores(weights, place, signed)
    whole = floor(scaled(score, scale, signed), signed)
    if tabled:
        whole = whole << like(whole, unit)
        if shown:
            table = load(problem.tables, line * ROW)
            whole = whole + (table << like(whole, unit - problem.table_bits))
    return whole


@inlined
def leading_bits(weights, place, slot, line, tables, pieces, signed):
    """What the first stage sees of :func:`fixed_point`: its bits from FIRST_SHIFT up.

    Where the tables are shown all digits are among these bits, so that the sum is exact.
    """
    score = scaled(scores(weights, place, signed), pieces.coarse[slot], signed)
    if tables is not None:
        table = to_floats(load(tables, line * ROW), score)
        score = score + table * like(score, pieces.lift[slot])
    return floor(score, signed)


@inlined
def read_half(weights, problem, tables, pieces, packed, i, half, shape, signed):
    """A row of the panel's pieces, two by two."""
    offset, line = i * problem.stride + half * ROW, i * shape.halves + half
    for k in range(0, shape.pieces, 2):
        place = pieces.position[k] + offset
        first = leading_bits(weights, place, k, line, tables, pieces, signed)
        place = pieces.position[k + 1] + offset
        second = leading_bits(weights, place, k + 1, line, tables, pieces, signed)
        both = pack_pairs(first, second)
        store(packed, k * ROW, both - like(both, problem.center))


@helper
def read_first(weights, problem, tables, pieces, panel, shape, signed):
    """Read a panel's leading 15 bits into lanes; with the first of the tables, if there are any."""
    pitch = (shape.m + 1) * LANES
    for i in range(shape.m):
        read_half(weights, problem, tables, pieces, panel.packed, i, 0, shape, signed)
        transpose_store(panel.packed, panel.lanes, i * pitch, shape, 0)
        if shape.m > ROW:
            read_half(weights, problem, tables, pieces, panel.packed, i, 1, shape, signed)
            transpose_store(panel.packed, panel.lanes, i * pitch + ROW * LANES, shape, 1)


@inlined
def is_inexact(weights, place, scale, signed):
    """-1 where a score is more than its floor in fixed point."""
    score = scores(weights, place, signed)
    whole = floor(scaled(score, scale, signed), signed)
    return exceeds(score, whole, scale)


@inlined
def reduced(weights, slot, i, half, digits, pieces, problem, shape, signed):
    """16 scores in fixed point less the potentials that the piece stands on."""
    line = i * shape.halves + half
    place = pieces.position[slot] + i * problem.stride + half * ROW
    score = fixed_point(weights, place, line, digits, problem, signed)
    v = load(pieces.v, (slot * shape.halves + half) * ROW)
    return score - spread(pieces.u, slot * shape.halves * ROW + i * shape.tiles, shape) - v


@inlined
def window(score, shift):
    """15 bits of each score from bit ``shift`` up; larger scores saturate."""
    most = like(score, (LIMIT << shift) - 1)
    least = like(score, -(LIMIT << shift))
    return maximum(minimum(score, most), least) >> like(score, shift)


@inlined
def zoom_half(weights, problem, pieces, packed, i, half, shape, signed):
    """As :func:`read_half` for what the potentials leave, at a finer unit."""
    for k in range(0, shape.pieces, 2):
        digits = digits_of(pieces, k)
        first = reduced(weights, k, i, half, digits, pieces, problem, shape, signed)
        digits = digits_of(pieces, k + 1)
        second = reduced(weights, k + 1, i, half, digits, pieces, problem, shape, signed)
        both = pack_pairs(window(first, pieces.shift[k]), window(second, pieces.shift[k + 1]))
        store(packed, k * ROW, both)


@helper
def read_zoomed(weights, problem, pieces, panel, shape, signed):
    """Read a panel's scores less its potentials into lanes, each piece in its unit of 2**shift."""
    pitch = (shape.m + 1) * LANES
    for i in range(shape.m):
        zoom_half(weights, problem, pieces, panel.packed, i, 0, shape, signed)
        transpose_store(panel.packed, panel.lanes, i * pitch, shape, 0)
        if shape.m > ROW:
            zoom_half(weights, problem, pieces, panel.packed, i, 1, shape, signed)
            transpose_store(panel.packed, panel.lanes, i * pitch + ROW * LANES, shape, 1)
