"""Transposing in registers: binary digits of the vector's and the lane's number change places."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from nmflow.simd.llvm import I32


def _exchange(digit: int, part: int, lanes: int) -> list[int]:
    """The shuffle by which a digit of the lane's number changes places with that of two vectors.

    Lanes 0 ... lanes - 1 are the first vector's; ``part`` says which of the two results.
    """
    bit = 1 << digit
    return [lane & ~bit | part << digit | (lane >> digit & 1) * lanes for lane in range(lanes)]


def _interleave(part: int, lanes: int) -> list[int]:
    """A cheaper shuffle: two digits move up, and that of the vectors becomes the first."""
    return [lane & ~3 | part << 1 | lane >> 1 & 1 | (lane & 1) * lanes for lane in range(lanes)]


def transposed(builder: Any, values: list[Any]) -> list[Any]:
    """Transpose each square block of the vectors, which has as many lanes as there are vectors.

    Lanes cross a processor's 128-bit parts only in the passes that must.
    """
    values = list(values)
    lanes = values[0].type.count
    interleaved = len(values) > 2
    for digit in range((len(values) - 1).bit_length()):
        masks = [
            _interleave(part, lanes)
            if interleaved and digit == 0
            else _exchange(digit, part, lanes)
            for part in (0, 1)
        ]
        low, high = (ir.Constant(ir.VectorType(I32, lanes), mask) for mask in masks)
        for k in range(len(values)):
            if not k >> digit & 1:
                pair = values[k], values[k | 1 << digit]
                values[k] = builder.shuffle_vector(*pair, low)
                values[k | 1 << digit] = builder.shuffle_vector(*pair, high)
    if interleaved:
        # The second digit came first.
        return [values[k & ~3 | (k & 1) << 1 | (k & 2) >> 1] for k in range(len(values))]
    return values
