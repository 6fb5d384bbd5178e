"""What holds of all pieces alike: where they may begin, and how what they come to is added up."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import numpy as np

from nmflow.errors import NmflowError
from nmflow.problem.arrays import Part, on_accelerator, to_host
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import VIOLATIONS_LISTED, Tally, Violation
from nmflow.units.unit import as_unit

# Module and class of the arrays, and the module that knows them.
_KINDS = (
    ("dask.array", "Array", "nmflow.sharded.dask_arrays"),
    ("torch.distributed.tensor", "DTensor", "nmflow.sharded.dtensors"),
)

Each = Callable[..., Any]
"""What is done to each piece: ``each(weights, **arrays)``, with parts of other arrays by name."""


class Pieces(Protocol):
    """An array in pieces. How each kind is read is told in its module."""

    def stand_in(self) -> Any:
        """An array of the same shape and dtype, which holds nothing and takes no memory."""
        ...

    def masks(self, each: Each, whole: Whole, others: Mapping[str, Any]) -> Any:
        """What ``each`` makes of the pieces, bool arrays of their shapes, as an array in pieces."""
        ...

    def tallies(self, each: Each, whole: Whole, others: Mapping[str, Any]) -> Sequence[Tally]:
        """What ``each`` makes of the pieces, with the places where they lie in the whole."""
        ...


def pieces_of(weights: Any) -> Pieces | None:
    """The pieces of an array that is in such; None for any other."""
    for module, kind, adapter in _KINDS:
        # None exists unless its module was imported.
        framework = sys.modules.get(module)
        if framework is not None and isinstance(weights, getattr(framework, kind, ())):
            return cast(Pieces, importlib.import_module(adapter).Pieces(weights))
    return None


@dataclass(frozen=True, slots=True)
class Whole:
    """The array that pieces make up.

    Attributes
    ----------
    shape : tuple of int
    axes : tuple of int
        Those of its matrices, non-negative.
    steps : tuple of int
        Of each axis: pieces that begin at multiples of it cut no tile, group or unit.
    """

    shape: tuple[int, ...]
    axes: tuple[int, int]
    steps: tuple[int, ...]

    @classmethod
    def of(cls, pieces: Pieces, pattern: Pattern, axes: Any, score: str, unit: Any) -> Whole:
        """Validate weights and options as one array's would be, with nothing read.

        Raises
        ------
        NmflowError
        """
        host = to_host(pieces.stand_in())
        batch = MatrixBatch.of(host, pattern, axes, score)
        height, width = as_unit(unit)
        shape = host.values.shape
        rows, columns = (shape[axis] for axis in batch.axes)
        at = {
            "transposable": (pattern.tile[0] * height, pattern.tile[1] * width),
            "rows": (height, pattern.m * width),
            "columns": (pattern.m * height, width),
            "unstructured": (max(rows, 1), max(columns, 1)),
        }[pattern.name]
        step = dict(zip(batch.axes, at, strict=True))
        return cls(shape, batch.axes, tuple(step.get(axis, 1) for axis in range(len(shape))))

    def check(self, others: Mapping[str, Any], pattern: Pattern) -> None:
        """Raise for masks, by name, of another shape than the weights."""
        for name, other in others.items():
            # What has no shape, a list, is looked at as a whole.
            if (shape := tuple(np.shape(other))) != self.shape:
                raise NmflowError(
                    f"{name} of shape {shape} for {pattern}: weights have shape {self.shape}, a"
                    " mask must have the same"
                )

    def moved(self, tally: Tally, start: Sequence[int], shape: Sequence[int]) -> Tally:
        """The tally of a piece, with the places where its violations lie in the whole."""
        batch = [axis for axis in range(len(self.shape)) if axis not in self.axes]
        inner, outer = ([s[axis] for axis in batch] for s in (shape, self.shape))
        first = [start[axis] for axis in batch]
        corner = [start[axis] // self.steps[axis] for axis in self.axes]

        def move(violation: Violation) -> Violation:
            index = np.unravel_index(violation.matrix, inner) if batch else ()
            place = [a + int(b) for a, b in zip(first, index, strict=True)]
            matrix = int(np.ravel_multi_index(place, outer)) if batch else 0
            row, column = violation.tile
            tile = corner[0] + row, corner[1] + column
            return dataclasses.replace(violation, matrix=matrix, tile=tile)

        over, under = ([move(each) for each in found] for found in (tally.over, tally.under))
        return dataclasses.replace(tally, over=over, under=under)


def masks_of_pieces(
    pieces: Pieces,
    solve: Each,
    pattern: Pattern,
    method: Any,
    within: Any,
    keep: Any,
    options: Mapping[str, Any],
) -> Any:
    """The mask of an array in pieces, as one.

    Parameters
    ----------
    pieces : Pieces
    solve : callable
        :func:`nmflow.solve`.
    pattern : Pattern
    method : Method
    within, keep
        As for ``solve``.
    options : mapping
        Its ``axes``, ``score``, ``workers`` and ``unit``.
    """
    whole = Whole.of(pieces, pattern, options["axes"], options["score"], options["unit"])
    others = _given(within=within, keep=keep)
    whole.check(others, pattern)
    if pattern.name == "transposable":
        # Imported now, as what it lacks is to be told now, and not when a piece is solved.
        if others or pattern.columns is not None:
            method.constrained_solver()
        else:
            method.window_solver()
    each = partial(
        solve,
        n=pattern.n,
        m=pattern.m,
        method=method,
        pattern=pattern.name,
        columns=pattern.columns,
        at_most=pattern.at_most,
        **options,
    )
    return pieces.masks(each, whole, others)


def tally_of_pieces(
    pieces: Pieces, each: partial[Tally], pattern: Pattern, mask: Any, within: Any, keep: Any
) -> Tally:
    """The tally of all tiles of an array in pieces; ``each`` has options as keywords.

    Sums of pieces are added up as integers, so that the total is that of the whole.
    """
    options = each.keywords
    whole = Whole.of(pieces, pattern, options["axes"], options["score"], options["unit"])
    others = {"mask": mask} | _given(within=within, keep=keep)
    whole.check(others, pattern)
    found = pieces.tallies(each, whole, others)
    total = Tally(pattern)
    for tally in found:
        total.add(dataclasses.replace(tally, over=[], under=[]))
    for name in ("over", "under"):
        every = [violation for tally in found for violation in getattr(tally, name)]
        every.sort(key=lambda violation: (violation.matrix, violation.tile))
        setattr(total, name, every[:VIOLATIONS_LISTED])
    return total


def _given(**others: Any) -> dict[str, Any]:
    return {name: other for name, other in others.items() if other is not None}


def call(each: Each, values: Any, part: Part, others: Mapping[str, Any]) -> Any:
    """What ``each`` makes of a piece; errors tell where in the whole it lies."""
    if on_accelerator(values):
        try:
            return each(values, **others)
        except NmflowError:
            # Through the host, whose arrays can say where they lie.
            pass
    placed = {name: to_host(other, name)._replace(part=part) for name, other in others.items()}
    return each(to_host(values)._replace(part=part), **placed)


def chunks_at(boundaries: Sequence[int], step: int) -> list[int]:
    """Boundaries, from 0 to an axis's length, moved down to multiples of a step, each once."""
    length = boundaries[-1]
    inner = {bound // step * step for bound in boundaries[1:-1]}
    return [0, *sorted(inner - {0, length}), length]
