"""Scores as integers times powers of two, taken from the bits of floats: no device rounds here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

LEAST_EXPONENT = -(1 << 20)
"""Below the exponent of any number: that of a tile without any score but 0."""
# Bits of a mantissa, bias of an exponent, the integer of the same size.
_FLOATS = {torch.float32: (23, 127, torch.int32), torch.float64: (52, 1023, torch.int64)}
SMALL_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Shifts of a 64-bit integer.
_MOST = 63


@dataclass(frozen=True, slots=True)
class Numbers:
    """Scores ``mantissa * 2**exponent``, exactly.

    Attributes
    ----------
    mantissa : int32 or int64 Tensor
        With the score's sign.
    exponent : int32 Tensor
        Of the same shape.
    """

    mantissa: Any
    exponent: Any

    def take(self, tiles: Any) -> Numbers:
        """Some of the tiles, which the first axis counts."""
        return Numbers(self.mantissa[tiles], self.exponent[tiles])

    def scale(self, tile_axes: tuple[int, int]) -> Any:
        """An exponent e for each tile with all of its |scores| < 2**e; axes are kept."""
        magnitude = self.mantissa.abs()
        exponent = torch.where(magnitude > 0, self.exponent, LEAST_EXPONENT)
        largest = magnitude.amax(tile_axes, keepdim=True)
        return exponent.amax(tile_axes, keepdim=True) + _bit_length(largest)

    def floor(self, unit: Any) -> tuple[Any, Any]:
        """Scores in units of 2**unit, rounded down, and which of them are more than that.

        They must fit the mantissa's integers.
        """
        bits = torch.iinfo(self.mantissa.dtype).bits - 1
        shift = self.exponent - unit
        right = (-shift).clamp(0, bits).to(self.mantissa.dtype)
        floor = (self.mantissa >> right) << shift.clamp(0, bits).to(self.mantissa.dtype)
        return floor, self.mantissa != (self.mantissa >> right) << right

    def digits(self, unit: Any, count: int) -> tuple[Any, Any]:
        """The last ``count`` bits of the scores in units of 2**unit; and which have more."""
        shift = (self.exponent - unit).to(torch.int64)
        mantissa = self.mantissa.to(torch.int64)
        right = (-shift).clamp(0, _MOST)
        # What a shift to the left drops is above these digits.
        digits = (mantissa >> right) << shift.clamp(0, _MOST) & (1 << count) - 1
        return digits, mantissa != (mantissa >> right) << right


def _bit_length(numbers: Any) -> Any:
    """Bits of positive integers, 0 of 0."""
    length = torch.zeros_like(numbers, dtype=torch.int32)
    for step in (32, 16, 8, 4, 2, 1):
        if step < torch.iinfo(numbers.dtype).bits:
            high = numbers >= 1 << step
            length += high * step
            numbers = torch.where(high, numbers >> step, numbers)
    return length + (numbers > 0)


def supports(dtype: Any) -> bool:
    """Whether values of that dtype can be read; 64-bit and larger unsigned integers can't."""
    return dtype in FLOATS or dtype in SMALL_INTEGERS


def scores_of(values: Any, score: str) -> Numbers:
    """The scores of finite values, as :func:`nmflow.problem.scores.scores_of` defines them."""
    if values.dtype in SMALL_INTEGERS:
        wide = values.to(torch.int64)
        wide = wide * wide if score == "square" else wide
        return Numbers(wide.abs() if score == "abs" else wide, _zeros(wide))
    if values.dtype not in _FLOATS:
        values = values.to(torch.float32)
    if score == "square" and values.dtype is torch.float64:
        values, score = values * values, "abs"
    bits, bias, integer = _FLOATS[values.dtype]
    pattern = values.view(integer)
    field = pattern >> bits & (1 << (integer.itemsize * 8 - 1 - bits)) - 1
    mantissa = (pattern & (1 << bits) - 1) | ((field > 0).to(integer) << bits)
    exponent = field.clamp(min=1).to(torch.int32) - (bias + bits)
    if score == "square":
        wide = mantissa.to(torch.int64)
        return Numbers(wide * wide, exponent * 2)
    if score == "raw":
        mantissa = torch.where(pattern < 0, -mantissa, mantissa)
    return Numbers(mantissa, exponent)


def _zeros(like: Any) -> Any:
    return torch.zeros_like(like, dtype=torch.int32)
