"""Signed integers of any width, side by side in one array of 64-bit integers.

A number is ``limbs`` entries from an offset on, the least significant first: digits of base 2**60,
of which the last has the sign. Callers see to it that the last has room.
"""

from __future__ import annotations

import math

from nmflow.compiling.jit import helper

LIMB_BITS = 60
# From the largest float64 to the least take 2098 bits, and sums a few more.
MOST_LIMBS = 40
_DIGIT = (1 << LIMB_BITS) - 1
_MANTISSA_BITS = 53


@helper
def add(x, limbs, result, left, right):
    """Set the number at ``result`` to the sum of two."""
    carry = 0
    for k in range(limbs - 1):
        digit = x[left + k] + x[right + k] + carry
        x[result + k] = digit & _DIGIT
        carry = digit >> LIMB_BITS
    k = limbs - 1
    x[result + k] = x[left + k] + x[right + k] + carry


@helper
def subtract(x, limbs, result, left, right):
    """Set the number at ``result`` to the difference of two."""
    carry = 0
    for k in range(limbs - 1):
        digit = x[left + k] - x[right + k] + carry
        x[result + k] = digit & _DIGIT
        carry = digit >> LIMB_BITS
    k = limbs - 1
    x[result + k] = x[left + k] - x[right + k] + carry


@helper
def copy(x, limbs, result, number):
    """Set a number to another."""
    for k in range(limbs):
        x[result + k] = x[number + k]


@helper
def clear(x, limbs, result):
    """Set a number to 0."""
    for k in range(limbs):
        x[result + k] = 0


@helper
def is_less(x, limbs, left, right):
    """Whether one number is less than another."""
    for k in range(limbs - 1, 0, -1):
        if x[left + k] != x[right + k]:
            return x[left + k] < x[right + k]
    return x[left] < x[right]


@helper
def sign(x, limbs, number):
    """-1, 0 or 1."""
    top = x[number + limbs - 1]
    if top < 0:
        return -1
    for k in range(limbs):
        if x[number + k] != 0:
            return 1
    return 0


@helper
def add_float(x, limbs, result, value, unit):
    """Add a float64 in units of 2**unit, less the fraction of one that it may have."""
    mantissa, exponent = math.frexp(value)
    digits = int(mantissa * 2.0**_MANTISSA_BITS)
    shift = exponent - _MANTISSA_BITS - unit
    if shift < 0:
        digits >>= min(-shift, LIMB_BITS)
        shift = 0
    k, last = result + shift // LIMB_BITS, result + limbs - 1
    shift %= LIMB_BITS
    if k < last:
        room = LIMB_BITS - shift
        digit = x[k] + ((digits & ((1 << room) - 1)) << shift)
        x[k] = digit & _DIGIT
        digits = (digits >> room) + (digit >> LIMB_BITS)
        shift = 0
        k += 1
        while k < last:
            digit = x[k] + digits
            x[k] = digit & _DIGIT
            digits = digit >> LIMB_BITS
            k += 1
    x[k] += digits << shift
