"""Scores and prices of a tile as integers of as many bits as it takes to lose none."""

from __future__ import annotations

import math

from nmflow.compiling.jit import helper
from nmflow.proof.exact.limbs import LIMB_BITS, add_float, clear
from nmflow.proof.exact.network import price_at, score_at

_MANTISSA_BITS = 53
# What prices may be in units of the largest score, to begin with.
_LARGEST_START = 4
# Powers of two up to its, and their inverses, are floats.
_SAFE_EXPONENT = 900


@helper
def width_of(parts):
    """Limbs that a tile's numbers take, the exponent of their unit, and the largest score.

    In units of the largest score prices begin at 4 at most, and a path brings 2 m more; on partial
    tiles both count twice. So a price is below 4 m + 8, a margin below 8 m + 17, a distance below
    10 m + 16, and all of them, and their sums of two, below 32 (m + 2).
    """
    count, rows, columns = parts.shape
    largest = 0.0
    for part in range(count):
        for i in range(rows):
            for j in range(columns):
                largest = max(largest, abs(parts[part, i, j]))
    # The sum of two parts is below twice the larger.
    top = math.frexp(largest)[1] + count - 1
    headroom = math.frexp(32.0 * (max(rows, columns) + 2))[1]
    unit = top + headroom - LIMB_BITS
    if is_multiple(parts, unit):
        return 1, unit, largest
    unit = lowest_bit(parts)
    return 1 + (top + headroom - unit) // LIMB_BITS, unit, largest


@helper
def is_multiple(parts, unit):
    """Whether all scores are multiples of 2**unit, and can be read as such by multiplying."""
    if abs(unit) > _SAFE_EXPONENT:
        return False
    count, rows, columns = parts.shape
    factor = math.ldexp(1.0, -unit)
    for part in range(count):
        for i in range(rows):
            for j in range(columns):
                score = parts[part, i, j]
                scaled = score * factor
                if scaled != math.floor(scaled) or (scaled == 0) != (score == 0):
                    return False
    return True


@helper
def lowest_bit(parts):
    """The exponent of the largest power of two that all scores are multiples of."""
    lowest = 1024
    for part in parts:
        for row in part:
            for score in row:
                mantissa, exponent = math.frexp(score)
                digits = int(mantissa * 2.0**_MANTISSA_BITS)
                if digits:
                    bit = math.frexp(float(digits & -digits))[1] - 1
                    lowest = min(lowest, bit + exponent - _MANTISSA_BITS)
    return lowest


@helper
def read_scores(net, limbs, parts, unit):
    """Read the scores of a tile in units of a power of two."""
    count, rows, columns = parts.shape
    simple = limbs == 1 and abs(unit) <= _SAFE_EXPONENT
    factor = math.ldexp(1.0, -unit) if simple else 0.0
    for i in range(rows):
        for j in range(columns):
            here = score_at(net, limbs, i, j)
            if simple:
                net.numbers[here] = 0
                for part in range(count):
                    net.numbers[here] += int(parts[part, i, j] * factor)
                continue
            clear(net.numbers, limbs, here)
            for part in range(count):
                add_float(net.numbers, limbs, here, parts[part, i, j], unit)


@helper
def read_price(net, limbs, node, price, unit, largest, full):
    """Read a price to begin with, less the fraction of a unit; 0 where it makes no sense."""
    here = price_at(net, limbs, node)
    clear(net.numbers, limbs, here)
    if abs(price) / _LARGEST_START <= largest and (full or price > 0):
        add_float(net.numbers, limbs, here, price, unit)
