"""The shape of a unit, as one validated value."""

from __future__ import annotations

from typing import Any

from nmflow.errors import NmflowError
from nmflow.problem.pattern import as_integer

Unit = tuple[int, int]
ENTRY: Unit = (1, 1)
"""The unit of masks that are chosen entry by entry."""


def as_unit(unit: Any) -> Unit:
    """Rows and columns of a unit.

    Raises
    ------
    NmflowError
        For anything but two integers of at least 1.
    """
    try:
        height, width = unit
    except (TypeError, ValueError):
        height = width = 0
    else:
        height, width = as_integer("unit", height), as_integer("unit", width)
    if height < 1 or width < 1:
        raise NmflowError(
            f"unit must be (rows, columns) of the blocks that are kept or dropped whole, two"
            f" integers >= 1, got {unit!r}"
        )
    return height, width


def in_units(shape: tuple[int, int, int], unit: Unit) -> tuple[int, int, int]:
    """The shape of a batch of matrices in units; at ragged edges units are partial."""
    matrices, rows, columns = shape
    return matrices, -(-rows // unit[0]), -(-columns // unit[1])
