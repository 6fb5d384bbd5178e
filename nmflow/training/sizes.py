"""Whether matrices are large enough for a pattern, and what becomes of their edges."""

from __future__ import annotations

from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.units.unit import ENTRY, Unit


def too_small(
    layout: Layout, shape: tuple[int, ...], pattern: Pattern, unit: Unit = ENTRY
) -> str | None:
    """Why matrices that hold not even one group can't be masked; None if they can."""
    rows, columns = layout.matrix_size(shape)
    needs_rows = pattern.name in ("transposable", "columns")
    needs_columns = pattern.name in ("transposable", "rows")
    height, width = (pattern.m * size for size in unit)
    if (needs_rows and rows < height) or (needs_columns and columns < width):
        units = "" if unit == ENTRY else f" units of {unit[0]} x {unit[1]}"
        return f"matrices of {rows} x {columns} are too small for m = {pattern.m}{units}"
    return None


def note_on_edges(
    layout: Layout, shape: tuple[int, ...], pattern: Pattern, unit: Unit = ENTRY
) -> str | None:
    """What there is to know where groups don't divide the matrices' sides."""
    rows, columns = layout.matrix_size(shape)
    height, width = (pattern.m * size for size in unit)
    if pattern.name == "unstructured" or not (rows % height or columns % width):
        return None
    return f"groups at the edges of {rows} x {columns} keep at most {pattern.n}"
