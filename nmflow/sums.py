"""Exact sums of scores, for certificates in which a gap of 0 means 0."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError


def exact_terms(values: NDArray[Any]) -> list[float]:
    """A few floats whose exact sum is the exact sum of many.

    Error-free vector extraction (Rump, Ogita & Oishi, "Accurate floating-point summation",
    SIAM J. Sci. Comput. 31, 2008, algorithm 3.2): adding and subtracting a large power of two
    splits off leading parts that all share one exponent, so that their float sum is exact.
    """
    if values.dtype.kind != "f":
        return _halves(values)
    terms: list[float] = []
    rest = values.ravel().astype(np.float64)
    while True:
        largest = float(np.abs(rest).max(initial=0.0))
        if largest == 0.0:
            return terms
        exponent = math.frexp(largest)[1] + (rest.size + 2).bit_length()
        if exponent > 1022:
            return terms + [float(value) for value in rest.tolist()]
        sigma = math.ldexp(1.0, exponent)
        leading = (rest + sigma) - sigma
        terms.append(float(leading.sum()))
        rest = rest - leading
        rest = rest[rest != 0]


def _halves(values: NDArray[Any]) -> list[float]:
    """64-bit integers as a high and a low half, each sum exact in Python integers."""
    low = values & values.dtype.type(0xFFFFFFFF)
    total = sum(((values - low) >> values.dtype.type(32)).tolist()) << 32
    total += sum(low.tolist())
    terms = []
    while total:
        leading = float(total)
        terms.append(leading)
        total -= int(leading)
    return terms


def rounded_sum(terms: Iterable[float]) -> float:
    """The exact sum of floats, rounded once (Shewchuk's algorithm in ``math.fsum``)."""
    try:
        return math.fsum(terms)
    except OverflowError:
        raise NmflowError(
            "the total score exceeds float64: certify weights scaled down by a power of two"
        ) from None
