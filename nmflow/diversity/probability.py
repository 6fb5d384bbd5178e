"""Probabilities in integers: of sparse groups and tiles that are n:m as they are."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from nmflow.diversity.tile import OutOfReachError, count_by_ones
from nmflow.errors import NmflowError

# Steps, times the bits of the integers in them: about a second's work.
BITS_LIMIT = 20_000_000_000


class Ratio(NamedTuple):
    """A probability as two integers, not reduced.

    Attributes
    ----------
    part, whole : int
        0 <= part <= whole, and whole is not 0.
    """

    part: int
    whole: int

    def at_least(self, other: Ratio, power: int = 1) -> bool:
        """Whether its power is no less than another ratio."""
        return bool(self.part**power * other.whole >= other.part * self.whole**power)

    def as_float(self) -> float:
        """The nearest float.

        Raises
        ------
        NmflowError
            If it is not 0, and less than the smallest normal float.
        """
        value = self.part / self.whole
        if self.part and value < sys.float_info.min:
            raise NmflowError(
                f"the probability, 10^{self.log10():.6g}, is too small for a float: ask for"
                " result='log10', or result='fraction'"
            )
        return value

    def log10(self) -> float:
        """Its logarithm to base 10, right to about 15 digits; -inf of 0."""
        part, whole = self
        if not part:
            return -math.inf
        if 2 * part >= whole:
            # What lacks from 1 has all its digits, and 1 less it would not.
            return math.log1p((part - whole) / whole) / math.log(10)
        shift = whole.bit_length() - part.bit_length()
        return math.log10((part << shift) / whole) - shift * math.log10(2)


def group_fits(n: int, m: int, kept: Ratio) -> Ratio:
    """That a group holds at most n."""
    if n == m:
        return Ratio(1, 1)
    check_size(n + 1, m, kept)
    ways = accumulate(range(n), lambda before, k: before * (m - k) // (k + 1), initial=1)
    return _weighted(list(ways), m, kept)


def tile_fits(n: int, m: int, kept: Ratio) -> Ratio:
    """That every row and column of a tile holds at most n."""
    if n == m or kept.part == 0:
        return Ratio(1, 1)
    if kept.part == kept.whole:
        return Ratio(0, 1)
    check_size(n * m + 1, m * m, kept)
    try:
        return _weighted(count_by_ones(m, n), m * m, kept)
    except OutOfReachError as error:
        group = group_fits(n, m, kept).log10()
        raise OutOfReachError(
            f"{error}. A tile fits with a probability from 10^{2 * m * group:.4g}, as if its rows"
            f" and columns were independent, to 10^{m * group:.4g}, which is that of its rows"
        ) from None


def _weighted(ways: Sequence[int], size: int, kept: Ratio) -> Ratio:
    """The sum over k of ``ways[k] p^k (1 - p)^(size - k)``, by Horner's rule in integers."""
    ones, zeros = kept.part, kept.whole - kept.part
    total, power = 0, 1
    for count in reversed(ways):
        total = total * ones + count * power
        power *= zeros
    return Ratio(total * zeros ** (size + 1 - len(ways)), kept.whole**size)


def check_size(steps: int, size: int, kept: Ratio) -> None:
    """Raise if so many steps on integers as long as ``kept.whole**size`` take too long.

    Raises
    ------
    OutOfReachError
    """
    bits = size * kept.whole.bit_length()
    if steps * bits > BITS_LIMIT:
        raise OutOfReachError(
            f"the exact probability takes {steps:,} steps with integers of {bits:,} bits, which is"
            " too long: choose a smaller m, or give the share as a fraction with a small"
            " denominator, such as Fraction(9, 10)"
        )


def as_share(label: str, value: Any) -> Ratio:
    """A number from 0 to 1 exactly as it is.

    Raises
    ------
    NmflowError
        If it is no number, or not from 0 to 1.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        ratio = getattr(value, "as_integer_ratio", None)
        part, whole = ratio() if callable(ratio) else (operator.index(value), 1)
    except TypeError:
        raise NmflowError(
            f"{label} must be a number, such as 0.9, got {value!r} of type {type(value).__name__}"
        ) from None
    except (ValueError, OverflowError):
        raise NmflowError(f"{label} must be a number from 0 to 1, got {value!r}") from None
    if not 0 <= part <= whole:
        hint = f"; for {value} % give {float(value) / 100:g}" if whole < part <= 100 * whole else ""
        raise NmflowError(f"{label} is a share, from 0 to 1, got {value!r}{hint}")
    return Ratio(int(part), int(whole))
