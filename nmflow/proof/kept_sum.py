"""The exact sum of the scores that a mask keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.proof.sums import LARGE, exact_sum, fraction_bits, of_floats

# Bits from the largest number that is summed here to the least, 2**-1074.
_SPAN = 900 + 1074


def kept_sum(scores: NDArray[Any], mask: NDArray[np.bool_]) -> int:
    """The exact sum of the kept scores, as a multiple of 2**-1074.

    Parameters
    ----------
    scores : ndarray, shape (B, R, C), float32, float64, int64 or uint64
        C-contiguous, as is the mask.
    mask : ndarray of bool, shape (B, R, C)
    """
    if scores.dtype.kind != "f":
        return exact_sum(scores[mask])
    step = fraction_bits(scores.size)
    sums = np.empty((_SPAN // step + 4, scores.shape[-1]))
    used = extract(scores, mask.view(np.uint8), step, sums)
    if used < 0:
        return exact_sum(scores[mask])
    return sum(of_floats(part) for part in sums[:used])


@compile_kernel
def extract(scores, mask, step, sums):
    """Split kept scores into parts that add without an error, and add those, by columns.

    How many rows of ``sums`` hold such sums; -1 if scores are too large. See
    :func:`nmflow.proof.sums.exact_sum`: here parts are split off row by row, all by the same powers
    of two, until nothing is left.
    """
    matrices, rows, columns = scores.shape
    largest = largest_of(scores)
    if largest >= LARGE:
        return -1
    sigma = math.ldexp(1.0, math.frexp(largest)[1] + 53 - step)
    ratio = math.ldexp(1.0, -step)
    rest = np.empty(columns)
    used = 0
    for b in range(matrices):
        for i in range(rows):
            row, kept = scores[b, i], mask[b, i]
            for x in range(columns):
                rest[x] = row[x] if kept[x] else 0
            power, level, more = sigma, 0, largest > 0
            while more:
                if level == used:
                    for x in range(columns):
                        sums[used, x] = sums[used + 1, x] = 0
                    used += 2
                next_power = power * ratio
                more = split(rest, power, next_power, sums[level], sums[level + 1])
                power, level = next_power * ratio, level + 2
    return used


@helper
def largest_of(scores):
    """The largest magnitude."""
    matrices, rows, columns = scores.shape
    largest = np.empty(columns, scores.dtype)
    for x in range(columns):
        largest[x] = 0
    for b in range(matrices):
        for i in range(rows):
            row = scores[b, i]
            for x in range(columns):
                size = abs(row[x])
                largest[x] = size if size > largest[x] else largest[x]
    result = 0.0
    for x in range(columns):
        result = max(result, np.float64(largest[x]))
    return result


@helper
def split(rest, sigma, next_sigma, sums, next_sums):
    """Move leading parts to the sums, and then those of the rest; say if anything is left."""
    left = 0
    for x in range(rest.size):
        leading = (rest[x] + sigma) - sigma
        sums[x] += leading
        here = rest[x] - leading
        leading = (here + next_sigma) - next_sigma
        next_sums[x] += leading
        rest[x] = here - leading
        left |= here != leading
    return left != 0
