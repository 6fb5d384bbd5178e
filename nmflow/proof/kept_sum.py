"""The exact sum of the scores that a mask keeps."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper, unaliased
from nmflow.proof.sums import LARGE, MANTISSA_BITS, UNIT_BITS, exact_sum, fraction_bits, of_floats

# Bits from the largest number that is summed here to the least, 2**-1074.
_SPAN = 900 + 1074


# Of a float32: the bits of its fraction, and the power of two that its last digit is worth where
# its exponent is 1, the least but that of subnormal numbers, which have the same.
_FRACTION_BITS = 23
_LEAST_POWER = -149


def patterns_of(scores: NDArray[Any]) -> NDArray[Any]:
    """The bits of floats, as unsigned integers."""
    return scores.view(np.uint32 if scores.dtype == np.float32 else np.uint64)


class KeptSums(NamedTuple):
    """Sums of kept scores by columns, added up as they are read, and how wide their range is.

    Attributes
    ----------
    unsigned : bool
        Whether the scores are what is read without its signs.
    count : int
        How many scores there are in a column, of all matrices.
    sums : ndarray of float64, shape (C,)
        Of float32 scores; of others none, shape (0,).
    extremes : ndarray of uint32 or uint64, shape (3,)
        Of the bits of what is read, without the sign: the largest of all; the least of what is kept
        but 0; and all bits that are not the sign. Shape (0,) where nothing is asked.
    """

    unsigned: bool
    count: int
    sums: NDArray[np.float64]
    extremes: NDArray[Any]

    @classmethod
    def of(cls, scores: NDArray[Any], unsigned: bool) -> KeptSums:
        """For a window of floats of which nothing was read yet."""
        matrices, rows, columns = scores.shape
        bits = patterns_of(scores).dtype
        digits = int(np.iinfo(bits).max) >> 1
        sums = np.zeros(columns if scores.dtype == np.float32 else 0)
        return cls(unsigned, matrices * rows, sums, np.array([0, digits, digits], bits))

    @classmethod
    def unwanted(cls, scores: NDArray[Any], unsigned: bool) -> KeptSums:
        """For a window that is not to be added up."""
        return cls(unsigned, 0, np.empty(0), np.empty(0, patterns_of(scores).dtype))

    @property
    def finite(self) -> bool:
        """Whether nothing was read that is infinite or NaN."""
        return bool(np.isfinite(self.extremes.view(f"f{self.extremes.itemsize}")[0]))

    def total(self) -> int | None:
        """The exact sum, as a multiple of 2**-1074; None where a sum may have been rounded.

        All that was added are multiples of what the last digit of the least is worth. So no sum was
        rounded if all are of 53 such digits. Of numbers without signs, whose sums only grow, the
        last ones are the largest; else none is larger than so many of the largest number.
        """
        if not self.sums.size:
            return None
        largest = max(int(self.extremes[0]) >> _FRACTION_BITS, 1)
        least = max(min(int(self.extremes[1]) >> _FRACTION_BITS, largest), 1)
        power = least - 1 + _LEAST_POWER
        if self.unsigned:
            bound = float(self.sums.max())
        else:
            bound = math.ldexp(self.count, largest - least + power + _FRACTION_BITS + 1)
        if bound > math.ldexp(1.0, power + MANTISSA_BITS):
            return None
        digits = np.ldexp(self.sums, -power).astype(np.int64)
        half = MANTISSA_BITS // 2
        total = (int((digits >> half).sum()) << half) + int((digits & ((1 << half) - 1)).sum())
        return total << (UNIT_BITS + power)


@unaliased
def add_row(scores, patterns, kept, unsigned, sums, extremes):
    """Add what is kept of a row to the sums of columns, and widen the range."""
    kind, nothing = patterns.dtype.type, scores.dtype.type(0)
    digits = extremes[2]
    largest, least = kind(0), digits
    for x in range(scores.size):
        score = abs(scores[x]) if unsigned else scores[x]
        sums[x] += np.float64(score if kept[x] else nothing)
        size = kind(patterns[x] & digits)
        largest = max(largest, size)
        least = min(least, size if (kept[x] != 0) & (size != 0) else digits)
    extremes[0], extremes[1] = max(largest, extremes[0]), min(least, extremes[1])


@unaliased
def widen_range(patterns, kept, extremes):
    """Note the largest of a row, and the least of what is kept of it."""
    kind = patterns.dtype.type
    digits = extremes[2]
    largest, least = kind(0), digits
    for x in range(patterns.size):
        size = kind(patterns[x] & digits)
        largest = max(largest, size)
        least = min(least, size if (kept[x] != 0) & (size != 0) else digits)
    extremes[0], extremes[1] = max(largest, extremes[0]), min(least, extremes[1])


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
