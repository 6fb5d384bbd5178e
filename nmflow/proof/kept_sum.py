"""The exact sum of the scores that a mask keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.proof.sums import LARGE, MANTISSA_BITS, exact_sum, fraction_bits, of_floats

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
    largest = float(max(scores.max(initial=0), -scores.min(initial=0)))
    if largest >= LARGE:
        return exact_sum(scores[mask])
    step = fraction_bits(scores.size)
    sigma = math.ldexp(1.0, math.frexp(largest)[1] + MANTISSA_BITS - step)
    sums = np.empty((_SPAN // step + 4, scores.shape[-1]))
    used = extract(scores, mask.view(np.uint8), sigma, math.ldexp(1.0, -step), sums)
    return sum(of_floats(part) for part in sums[:used])


@compile_kernel
def extract(scores, mask, sigma, ratio, sums):
    """Split kept scores into parts that add without an error, and add those, by columns.

    How many rows of ``sums`` hold such sums. As in :func:`nmflow.proof.sums.exact_sum`, but row by
    row, all by the same powers of two, until nothing is left.
    """
    matrices, rows, columns = scores.shape
    rest = np.empty(columns)
    used = 0
    for b in range(matrices):
        for i in range(rows):
            row, kept = scores[b, i], mask[b, i]
            power, level, more = sigma, 0, True
            while more:
                if level == used:
                    for x in range(columns):
                        sums[used, x] = sums[used + 1, x] = 0
                    used += 2
                pair = power, power * ratio
                if level == 0:
                    more = split(row, kept, pair, sums[0], sums[1], rest)
                else:
                    more = split(rest, kept, pair, sums[level], sums[level + 1], rest)
                power, level = pair[1] * ratio, level + 2
    return used


@helper
def split(values, kept, powers, sums, next_sums, rest):
    """Add leading parts, and those of what they leave, to sums; say if anything is left."""
    left = 0
    for x in range(rest.size):
        here = np.float64(values[x]) if kept[x] else 0.0
        leading = (here + powers[0]) - powers[0]
        sums[x] += leading
        here -= leading
        leading = (here + powers[1]) - powers[1]
        next_sums[x] += leading
        rest[x] = here - leading
        left |= here != leading
    return left != 0
