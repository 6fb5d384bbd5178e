"""How a tensor is a batch of matrices (out, in), which is what masks are made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor is a batch of matrices (out, in).

    Attributes
    ----------
    axes : (int, int), default (0, 1)
        Of outputs and of inputs; all others are batch, such as kernel positions or experts.
    groups : int, default 1
        Matrices one above the other along the out axis: the groups of a convolution; 3 where the
        query, key and value projections of an attention share one weight.
    """

    axes: tuple[int, int] = (0, 1)
    groups: int = 1

    def matrix_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(out, in) of each matrix of a tensor of this shape."""
        out_axis, in_axis = self.axes
        return shape[out_axis] // self.groups, shape[in_axis]

    def matrices(self, tensor: Any) -> Any:
        """The tensor as matrices.

        Parameters
        ----------
        tensor : Tensor or ndarray

        Returns
        -------
        Tensor or ndarray
            A view, with ``groups`` as an axis of its own in front of the out axis; the tensor
            itself where there is one group.
        """
        if self.groups == 1:
            return tensor
        out_axis = self.axes[0] % tensor.ndim
        shape = tuple(tensor.shape)
        split = (self.groups, shape[out_axis] // self.groups)
        return tensor.reshape(shape[:out_axis] + split + shape[out_axis + 1 :])

    def matrix_axes(self, ndim: int) -> tuple[int, int]:
        """The axes (out, in) of what :meth:`matrices` makes of a tensor of ``ndim`` axes."""
        out_axis, in_axis = (axis % ndim for axis in self.axes)
        if self.groups == 1:
            return out_axis, in_axis
        return out_axis + 1, in_axis + (in_axis > out_axis)

    def tensor(self, matrices: Any) -> Any:
        """The inverse of :meth:`matrices`."""
        if self.groups == 1:
            return matrices
        out_axis = self.axes[0] % (matrices.ndim - 1)
        shape = tuple(matrices.shape)
        joined = shape[out_axis] * shape[out_axis + 1]
        return matrices.reshape(*shape[:out_axis], joined, *shape[out_axis + 2 :])
