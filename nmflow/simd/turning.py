"""Transposing in registers: digits of the vector's and of the lane's number change places."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from nmflow.simd.emit import I32


def _masks(digit: int, lanes: int) -> list[ir.Constant]:
    """Of two vectors, which lanes go to the first and which to the second.

    A digit of the lane's number changes places with the one that tells the two vectors apart. Of
    the first there is a cheaper way: digits 0 and 1 move up, to the lane's second and to the
    vector's, and the vector's becomes the lane's first.
    """
    masks = []
    for part in (0, 1):
        mask = []
        for lane in range(lanes):
            if digit == 0:
                mask.append(lane & ~3 | part << 1 | lane >> 1 & 1 | (lane & 1) * lanes)
            else:
                mask.append(lane & ~(1 << digit) | part << digit | (lane >> digit & 1) * lanes)
        masks.append(ir.Constant(ir.VectorType(I32, lanes), mask))
    return masks


def transposed(builder: Any, values: list[Any]) -> list[Any]:
    """Blocks of as many lanes as there are vectors, at least four, each of them transposed.

    Nothing crosses a processor's 128-bit parts but in the passes that must.
    """
    values = list(values)
    for digit in range((len(values) - 1).bit_length()):
        low, high = _masks(digit, values[0].type.count)
        for k in range(len(values)):
            if not k >> digit & 1:
                pair = values[k], values[k | 1 << digit]
                values[k] = builder.shuffle_vector(*pair, low)
                values[k | 1 << digit] = builder.shuffle_vector(*pair, high)
    # The first pass has put the second digit first.
    return [values[k & ~3 | (k & 1) << 1 | (k & 2) >> 1] for k in range(len(values))]
