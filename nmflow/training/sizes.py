"""Whether matrices are large enough for a pattern, and what becomes of their edges."""

from __future__ import annotations

from nmflow.models import Layout
from nmflow.problem.pattern import Pattern


def too_small(layout: Layout, shape: tuple[int, ...], pattern: Pattern) -> str | None:
    """Why matrices that hold not even one group can't be masked; None if they can."""
    rows, columns = layout.matrix_size(shape)
    needs_rows = pattern.name in ("transposable", "columns")
    needs_columns = pattern.name in ("transposable", "rows")
    if (needs_rows and rows < pattern.m) or (needs_columns and columns < pattern.m):
        return f"matrices of {rows} x {columns} are too small for m = {pattern.m}"
    return None


def note_on_edges(layout: Layout, shape: tuple[int, ...], pattern: Pattern) -> str | None:
    """What there is to know where m does not divide the matrices' sides."""
    rows, columns = layout.matrix_size(shape)
    if pattern.name == "unstructured" or not (rows % pattern.m or columns % pattern.m):
        return None
    return f"groups at the edges of {rows} x {columns} keep at most {pattern.n}"
