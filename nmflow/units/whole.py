"""Masks from anywhere, in units: which are kept whole, and which in part, which no unit may be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.arrays import for_kernels
from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import VIOLATIONS_LISTED, Violation
from nmflow.units.unit import Unit, in_units


def whole_units(
    mask: NDArray[np.bool_], unit: Unit, pattern: Pattern
) -> tuple[NDArray[np.bool_], list[Violation]]:
    """The units that a mask keeps whole, and the first of those that it keeps in part.

    Parameters
    ----------
    mask : ndarray of bool, shape (B, R, C)
    unit : tuple of int
    pattern : Pattern
        In whose groups units are placed.
    """
    from nmflow.compiling.sparing import run_sparingly
    from nmflow.units.kernels import count

    shape = in_units(mask.shape, unit)
    held = np.zeros(shape, np.int64)
    if held.size:
        run_sparingly(count, (for_kernels(mask), unit, held), mask.size)
    sizes = np.outer(*map(_lengths, mask.shape[1:], unit))
    part = (held > 0) & (held < sizes)
    if not part.any():
        return held > 0, []
    found = []
    for b, i, j in np.argwhere(part)[:VIOLATIONS_LISTED].tolist():
        tile, index = _place(i, j, shape, pattern)
        found.append(Violation(b, tile, "unit", index, int(held[b, i, j]), int(sizes[i, j])))
    return held == sizes, found


def _lengths(length: int, size: int) -> NDArray[np.int64]:
    """How many entries each unit has along an axis."""
    starts = np.arange(0, length, size)
    return np.minimum(starts + size, length) - starts


def _place(
    i: int, j: int, shape: tuple[int, int, int], pattern: Pattern
) -> tuple[tuple[int, int], int]:
    """The tile or group of a unit, and its index in it in row-major order."""
    m, (_, rows, columns) = pattern.m, shape
    height, width = {
        "transposable": pattern.tile,
        "rows": (1, m),
        "columns": (m, 1),
        "unstructured": (rows, columns),
    }[pattern.name]
    return (i // height, j // width), i % height * width + j % width
