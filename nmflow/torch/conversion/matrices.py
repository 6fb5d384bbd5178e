"""A weight as the matrices that multiply what its layer sees, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nmflow.models import Layout


@dataclass(frozen=True, slots=True)
class Matrices:
    """How a weight of some shape is matrices of outputs and features.

    A feature is an input at a kernel position: a convolution is a linear layer of its patches.
    Features are ordered by position, then by input, so that the tiles of a mask, which lie at one
    position each, are m features side by side.

    Attributes
    ----------
    shape : tuple of int
        Of the weight.
    layout : Layout
    """

    shape: tuple[int, ...]
    layout: Layout

    @property
    def inputs(self) -> int:
        """Inputs of each matrix, at each position."""
        return self.layout.matrix_size(self.shape)[1]

    @property
    def features(self) -> int:
        """Columns of each matrix: inputs times positions."""
        out_axis = self.layout.axes[0] % len(self.shape)
        size = 1
        for axis, extent in enumerate(self.shape):
            size *= extent if axis != out_axis else 1
        return size

    def split(self, tensor: Any) -> Any:
        """A tensor of the weight's shape as (groups, outputs, features)."""
        apart = self._apart(tensor)
        return apart.reshape(*apart.shape[:2], -1)

    def join(self, matrices: Any) -> Any:
        """The inverse of :meth:`split`."""
        apart = self._apart(matrices.new_empty(self.shape))
        axes = self._axes()
        back = matrices.reshape(apart.shape).movedim((0, 1, -1), axes)
        return back.reshape(self.shape)

    def tiles(self, matrices: Any) -> Any:
        """(groups, outputs, features) as a batch of matrices (groups, positions, outputs, inputs).

        These are what a mask is solved for.
        """
        groups, outputs, _ = matrices.shape
        return matrices.reshape(groups, outputs, -1, self.inputs).movedim(2, 1)

    def untile(self, tiles: Any) -> Any:
        """The inverse of :meth:`tiles`."""
        groups, _, outputs, _ = tiles.shape
        return tiles.movedim(1, 2).reshape(groups, outputs, -1)

    def _axes(self) -> tuple[int, int, int]:
        """Of groups, outputs and inputs, with an axis of groups."""
        out_axis, in_axis = self.layout.matrix_axes(len(self.shape))
        if self.layout.groups == 1:
            return 0, out_axis + 1, in_axis + 1
        return out_axis - 1, out_axis, in_axis

    def _apart(self, tensor: Any) -> Any:
        matrices = self.layout.matrices(tensor)
        if self.layout.groups == 1:
            matrices = matrices.unsqueeze(0)
        return matrices.movedim(self._axes(), (0, 1, -1))
