"""Layers in bands: parts of a tensor that no tile crosses, so that each can be worked at alone.

A band is a span of the axis that is slowest in memory, so it is a span of the file as well, and
what it takes to work at it does not depend on how large the tensor is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from nmflow.checkpoint.formats.tensor import FLOATING, Tensor
from nmflow.checkpoint.layers import Layer
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import Tally, Violation

# Some MB: large enough for what a call costs by itself, and no more memory than a constant.
BAND_ENTRIES = 1 << 21
# Masks are packed eight to a byte, and a band's begin with a byte.
_BYTE = 8


@dataclass(frozen=True, slots=True)
class Band:
    """Some of a layer.

    Attributes
    ----------
    layer : Layer
    first, last : int
        From which index of the slowest axis, and up to which.
    layout : Layout
        How the band is a batch of matrices.
    origin : (int, int, int), default (0, 0, 0)
        Of its first tile in the layer: matrix, tile row, tile column.
    """

    layer: Layer
    first: int
    last: int
    layout: Layout
    origin: tuple[int, int, int] = (0, 0, 0)

    @property
    def tensor(self) -> Tensor:
        """The layer's."""
        return self.layer.tensor

    @property
    def size(self) -> int:
        """Number of entries."""
        return (self.last - self.first) * entries_a_step(self.tensor)

    @property
    def start(self) -> int:
        """Where its bytes begin in the file."""
        return self.tensor.start + self.first * entries_a_step(self.tensor) * self._item

    @property
    def stop(self) -> int:
        """Where they end."""
        return self.start + self.size * self._item

    @property
    def _item(self) -> int:
        return np.dtype(FLOATING[self.tensor.dtype]).itemsize

    def place(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """Where in the tensor an entry of the band is."""
        slowest = self.tensor.stored_order[0]
        return tuple(i + self.first * (axis == slowest) for axis, i in enumerate(index))

    def moved(self, tally: Tally) -> Tally:
        """A tally of the band, with violations where they are in the layer."""

        def move(violation: Violation) -> Violation:
            matrix, row, column = self.origin
            tile = violation.tile[0] + row, violation.tile[1] + column
            return replace(violation, matrix=violation.matrix + matrix, tile=tile)

        return replace(tally, over=[*map(move, tally.over)], under=[*map(move, tally.under)])


def entries_a_step(tensor: Tensor) -> int:
    """How many entries there are for each index of the slowest axis."""
    return math.prod(tensor.shape[axis] for axis in tensor.stored_order[1:])


def bands_of(
    layer: Layer, pattern: Pattern, most: int = BAND_ENTRIES, *, by_matrix: bool = False
) -> Iterator[Band]:
    """Cut a layer into bands of about ``most`` entries, in the order of the file.

    One band where it can't be cut: patterns that count whole matrices, which ``by_matrix`` says
    others are compared with, and unusual axes.
    """
    tensor, layout = layer.tensor, layer.layout
    axis, step = tensor.stored_order[0], entries_a_step(tensor)
    length = tensor.shape[axis]
    out_axis, in_axis = (each % len(tensor.shape) for each in layout.axes)
    in_groups = layout.groups > 1 and axis == out_axis
    group = length // layout.groups if in_groups else length
    is_matrix_axis = axis in (out_axis, in_axis)
    # Bands are cut at bytes of packed masks, and where tiles begin.
    unit = math.lcm(pattern.m if is_matrix_axis else 1, _BYTE // math.gcd(_BYTE, step))
    counts_all = (by_matrix or pattern.name == "unstructured") and is_matrix_axis
    # Batch axes other than the first would number matrices with gaps.
    odd_batch = not (is_matrix_axis and not in_groups) and any(
        each not in (axis, out_axis, in_axis) for each in range(axis)
    )
    if layer.size <= most or counts_all or odd_batch or (in_groups and group * step % _BYTE):
        yield Band(layer, 0, length, layout)
        return
    inner = Layout(layout.axes) if in_groups else layout
    matrices = _matrices(tensor, layout) // (layout.groups if in_groups else 1)
    rows = max(unit, most // step // unit * unit)
    for begin in range(0, length, group):
        for first in range(begin, begin + group, rows):
            tile = (first - begin) // pattern.m
            origin = (
                begin // group * matrices if is_matrix_axis else first * (matrices // length),
                tile if axis == out_axis else 0,
                tile if axis == in_axis else 0,
            )
            yield Band(layer, first, min(first + rows, begin + group), inner, origin)


def _matrices(tensor: Tensor, layout: Layout) -> int:
    """How many matrices a tensor is."""
    return tensor.size // math.prod(layout.matrix_size(tensor.shape))
