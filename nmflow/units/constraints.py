"""Constraints on entries as constraints on units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.constraints import Constraints
from nmflow.units.unit import ENTRY, Unit


def constraints_in_units(
    constraints: Constraints | None, batch: MatrixBatch, unit: Unit
) -> Constraints | None:
    """A unit may be kept if all its entries may, and must be kept if some entry must.

    Raises
    ------
    NmflowError
        For a unit of which some entry must be kept and another may not.
    """
    if constraints is None or unit == ENTRY:
        return constraints
    allowed = ~_any(~constraints.allowed, unit)
    forced = _any(constraints.forced, unit)
    if (odd := forced & ~allowed).any():
        matrix, i, j = (int(k) for k in np.argwhere(odd)[0])
        raise NmflowError(
            f"{batch.what}: keep asks for entries of the {unit[0]} x {unit[1]} unit {(i, j)} of"
            f" matrix {matrix}, of which within forbids others; leave one of them out"
        )
    return Constraints(allowed, forced)


def _any(marked: NDArray[np.bool_], unit: Unit) -> NDArray[np.bool_]:
    """Which units have a marked entry."""
    for axis, size in zip((1, 2), unit, strict=True):
        if size > 1 and marked.shape[axis]:
            starts = np.arange(0, marked.shape[axis], size)
            marked = np.logical_or.reduceat(marked, starts, axis=axis)
    return marked
