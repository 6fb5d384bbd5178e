"""Exact sums of scores, for certificates in which a gap of 0 means 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError

UNIT_BITS = 1074
"""Every float64 is a multiple of 2**-1074, the least above 0."""
LARGE = 2.0**900
"""Sums of smaller numbers never overflow."""
_LOWERED_BITS = 200
"""What larger numbers are scaled down by, which loses nothing of theirs."""


MANTISSA_BITS = 53


def exact_sum(values: NDArray[Any]) -> int:
    """The exact sum of floats or of 64-bit integers, as a multiple of 2**-1074."""
    if values.dtype.kind != "f":
        half = values.dtype.type(32)
        low = values & values.dtype.type((1 << 32) - 1)
        return ((int((values >> half).sum()) << 32) + int(low.sum())) << UNIT_BITS
    wide = values.ravel().astype(np.float64)
    large = np.abs(wide) >= LARGE
    if not large.any():
        return _sum_of_floats(wide)
    lowered = np.ldexp(wide[large], -_LOWERED_BITS)
    return _sum_of_floats(wide[~large]) + (_sum_of_floats(lowered) << _LOWERED_BITS)


def _sum_of_floats(rest: NDArray[np.float64]) -> int:
    """Of numbers below 2**900.

    Error-free vector extraction (Rump, Ogita & Oishi, "Accurate floating-point summation",
    SIAM J. Sci. Comput. 31, 2008, algorithm 3.2): adding and subtracting a large power of two
    splits off leading parts that all share one exponent, so that their float sum is exact.
    """
    total = 0
    while True:
        largest = float(np.abs(rest).max(initial=0.0))
        if largest == 0.0:
            return total
        sigma = math.ldexp(1.0, math.frexp(largest)[1] + MANTISSA_BITS - fraction_bits(rest.size))
        leading = (rest + sigma) - sigma
        total += of_floats(leading)
        rest = rest - leading
        rest = rest[rest != 0]


def fraction_bits(count: int) -> int:
    """How many bits below the largest of so many numbers their leading parts may have.

    A float64 has 53 bits, and what it does not need for carries is theirs.
    """
    return MANTISSA_BITS - (count + 2).bit_length()


def of_floats(leading: NDArray[np.float64]) -> int:
    """The sum of leading parts, as a multiple of 2**-1074."""
    top, bottom = float(leading.sum()).as_integer_ratio()
    return (top << UNIT_BITS) // bottom


def rounded(total: int) -> float:
    """A multiple of 2**-1074 as the nearest float64.

    Raises
    ------
    NmflowError
        Where it exceeds float64.
    """
    try:
        return total / (1 << UNIT_BITS)
    except OverflowError:
        raise NmflowError(
            "the total score exceeds float64: certify weights scaled down by a power of two"
        ) from None


def ratio(part: int, whole: int) -> float:
    """``part / abs(whole)``, rounded; infinite beyond float64, but 0 only where ``part`` is."""
    if part == 0:
        return 0.0
    try:
        quotient = abs(part) / abs(whole)
    except (ZeroDivisionError, OverflowError):
        quotient = math.inf
    quotient = quotient or math.ulp(0.0)
    return quotient if part > 0 else -quotient
