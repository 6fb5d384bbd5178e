"""The scale of a strip, and its tie table: both follow from one look at its scores.

The scale is the power of two that lets the largest score fill the bits of the fixed point. Where
ties are likely, as with many zeros or few significant bits, and no bit is lost, the first tie table
is added below the scores' last bit.
"""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import helper, inlined
from nmflow.simd.floats import (
    NOT_FINITE,
    bits_of,
    exponent_of,
    has_few_digits,
    last_digit,
    load_row,
    load_row_unhidden,
    magnitude,
    power_of_two,
    to_int32,
    zero_lanes,
    zeros_last,
)
from nmflow.simd.integers import (
    any_bits,
    largest_lane,
    like,
    smallest_lane,
)
from nmflow.simd.lines import first_one
from nmflow.simd.tile_shape import ROW
from nmflow.simd.vectors import maximum, minimum
from nmflow.solvers.flow.simd_engine.fixed_point import (
    FIRST_SHIFT,
    LOWEST_EXPONENT,
    TABLE_MARGIN,
)
from nmflow.solvers.flow.simd_engine.read import exceeds

MANY_DIGITS = -9999
"""Instead of the exponent of the last digit that any score of a strip has."""
UNLIKELY, LIKELY, CERTAIN = 0, 1, 2
"""How far ties are to be expected."""


@inlined
def scan(weights, start, stride, shape):
    """Lane by lane, the bits of the largest magnitude in a strip."""
    most = bits_of(magnitude(load_row_unhidden(weights, start)))
    for half in range(shape.halves):
        for i in range(shape.m):
            bits = bits_of(magnitude(load_row_unhidden(weights, start + i * stride + half * ROW)))
            most = maximum(most, bits)
    return most


@helper
def scan_digits(weights, start, stride, shape):
    """As :func:`scan`; and an e such that the strip's scores are all multiples of 2**e.

    That is MANY_DIGITS unless all scores have few significant bits.
    """
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
def choose_scale(most, config, strips, slot):
    """Set a strip's exponent and scales from its largest magnitudes; False if not finite."""
    exponent = exponent_of(largest_lane(most))
    if exponent == NOT_FINITE:
        return False
    exponent = max(exponent, LOWEST_EXPONENT)
    strips.exponent[slot] = exponent
    shift = config.fixed_bits - exponent
    strips.fixed_scale[slot] = power_of_two(shift, strips.fixed_scale)
    strips.coarse_scale[slot] = power_of_two(shift - FIRST_SHIFT, strips.coarse_scale)
    return True


@helper
def add_table_where_tied(weights, config, strips, slot, shape):
    """Give a strip a tie table if ties are likely and no bit is lost; how likely they are.

    Returns UNLIKELY; CERTAIN where half the columns hold a zero, so that the optimum chooses among
    zeros; or LIKELY where no score has more than 13 significant bits.
    """
    start, fixed_scale = strips.position[slot], strips.fixed_scale[slot]
    least = every = bits_of(magnitude(load_row(weights, start)))
    digits = more = to_int32(every ^ every)
    for half in range(shape.halves):
        for i in range(shape.m):
            score = magnitude(load_row(weights, start + i * config.stride + half * ROW))
            least = minimum(least, bits_of(score))
            every = every | bits_of(score)
            whole = to_int32(score * like(score, fixed_scale))
            digits = digits | whole
            more = more | exceeds(score, whole, fixed_scale)
    # Where half the columns have a zero, the optimum chooses among zeros.
    zeros = zero_lanes(least) >= ROW // 2
    if not (zeros or has_few_digits(every)):
        return UNLIKELY
    score_shift = min(first_one(np.int64(any_bits(digits))), config.fixed_bits - 1)
    if any_bits(more) == 0 and score_shift >= config.table_bits + TABLE_MARGIN:
        add_table(config, strips, slot, score_shift)
    return CERTAIN if zeros else LIKELY


@inlined
def add_table(config, strips, slot, score_shift):
    """Move a strip's scores down to multiples of 2**score_shift, the table's place below."""
    strips.has_table[slot] = True
    strips.score_shift[slot] = score_shift
    shift = config.fixed_bits - score_shift - strips.exponent[slot]
    strips.fixed_scale[slot] = power_of_two(shift, strips.fixed_scale)


@inlined
def prepare_table(weights, config, strips, slot, last, shape):
    """Give a fresh strip a tie table where ties are likely; the first stage reads it if it sees it.

    No further look is needed where all scores are multiples of 2**last and this leaves the first
    window bits for the table, and for potentials between its sums.
    """
    in_sight = config.table_bits + FIRST_SHIFT
    score_shift = min(config.fixed_bits - strips.exponent[slot] + last, config.fixed_bits - 1)
    if score_shift > in_sight:
        add_table(config, strips, slot, score_shift)
    else:
        add_table_where_tied(weights, config, strips, slot, shape)
    strips.reads_table[slot] = strips.has_table[slot] and strips.score_shift[slot] >= in_sight
    if strips.reads_table[slot]:
        strips.table_scale[slot] = power_of_two(
            strips.score_shift[slot] - in_sight, strips.table_scale
        )
    else:
        strips.table_scale[slot] = 0
