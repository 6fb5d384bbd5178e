"""Whether a mask is n:m, counted group by group on the device where it lies."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.units.unit import ENTRY, Unit

_AXES = {"transposable": (1, 0), "rows": (1,), "columns": (0,)}
_NAMES = ("column", "row")


def most_kept(mask: Any, layout: Layout, pattern: Pattern, unit: Unit = ENTRY) -> int:
    """The most units that any group of a mask holds; for unstructured masks n or m.

    Parameters
    ----------
    mask : bool Tensor
        Of the weight's shape, on any device.
    layout : Layout
    pattern : Pattern
    unit : (int, int)
        What is kept in part counts.
    """
    matrices = _units(_matrices(mask, layout), unit)
    if pattern.name == "unstructured":
        over = matrices.sum((-2, -1)) > _wanted(matrices, pattern)
        return pattern.m if over.any() else pattern.n
    counts = (_counts(matrices, axis, pattern.m) for axis in _AXES[pattern.name])
    return max((int(each.max()) for each in counts if each.numel()), default=0)


def fault(
    mask: Any, layout: Layout, pattern: Pattern, full: bool, unit: Unit = ENTRY
) -> str | None:
    """What is wrong with a mask that should be n:m; None if nothing is.

    Parameters
    ----------
    mask, layout, pattern, unit
        As for :func:`most_kept`.
    full : bool
        Whether every group of a full tile must hold n; otherwise it may hold fewer.
    """
    entries, n, m = _matrices(mask, layout), pattern.n, pattern.m
    matrices = _units(entries, unit)
    if problem := _kept_in_part(entries, matrices, unit):
        return problem
    if pattern.name == "unstructured":
        held, wanted = matrices.sum((-2, -1)).flatten(), _wanted(matrices, pattern)
        if bool((held > wanted).any()) or (full and bool((held < wanted).any())):
            return f"a matrix keeps {int(held.max())} entries instead of {wanted}"
        return None
    for axis in _AXES[pattern.name]:
        counts = _counts(matrices, axis, m)
        over = torch.nonzero(counts > n)
        if len(over):
            held = int(counts[tuple(over[0])])
            return (
                f"{len(over)} {_NAMES[axis]} groups hold more than {n} of {m}; the first,"
                f" {_place(over[0], axis, m)}, holds {held}"
            )
        sides = [side - side % m for side in matrices.shape[-2:]]
        under = torch.nonzero(_counts(matrices[..., : sides[0], : sides[1]], axis, m) < n)
        if full and len(under):
            return (
                f"{len(under)} {_NAMES[axis]} groups hold fewer than {n} of {m}; the first is"
                f" {_place(under[0], axis, m)}"
            )
    return None


def _units(matrices: Any, unit: Unit) -> Any:
    """Of which units anything is kept, (batch..., out, in) in units."""
    return matrices if unit == ENTRY else _blocks(matrices, unit).any(-1).any(-2)


def _kept_in_part(entries: Any, units: Any, unit: Unit) -> str | None:
    if unit == ENTRY:
        return None
    # What a unit at a ragged edge lacks is not missed.
    split = torch.nonzero(units & _blocks(~entries, unit).any(-1).any(-2))
    if not len(split):
        return None
    row, column = (int(at) * size for at, size in zip(split[0][-2:], unit, strict=True))
    return (
        f"{len(split)} units of {unit[0]} x {unit[1]} are kept in part; the first begins at row"
        f" {row}, column {column}"
    )


def _blocks(matrices: Any, unit: Unit) -> Any:
    """The entries of each unit, (batch..., out units, rows, in units, columns); False beyond."""
    short = [-side % size for side, size in zip(matrices.shape[-2:], unit, strict=True)]
    padded = functional.pad(matrices, (0, short[1], 0, short[0]))
    return padded.unflatten(-1, (-1, unit[1])).unflatten(-3, (-1, unit[0]))


def _matrices(mask: Any, layout: Layout) -> Any:
    """The mask as (batch..., out, in)."""
    matrices = layout.matrices(mask)
    return matrices.movedim(layout.matrix_axes(mask.ndim), (-2, -1))


def _counts(matrices: Any, axis: int, m: int) -> Any:
    """How many each group of m along rows (1) or columns (0) holds, ragged last ones included."""
    groups = matrices if axis == 1 else matrices.mT
    short = -groups.shape[-1] % m
    if short:
        groups = functional.pad(groups, (0, short))
    return groups.unflatten(-1, (-1, m)).sum(-1, dtype=torch.int32)


def _place(index: Any, axis: int, m: int) -> str:
    *_, line, group = (int(each) for each in index)
    lines = ("column", "row")[axis]
    others = ("rows", "columns")[axis]
    return f"{lines} {line}, {others} {group * m} to {group * m + m - 1}"


def _wanted(matrices: Any, pattern: Pattern) -> int:
    return pattern.kept_of(matrices.shape[-2] * matrices.shape[-1])
