"""How a weight is a stack of matrices (out, in), which is what masks are made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

# Of the matrices in what Layout.matrices returns; all other axes are batch.
AXES = (1, 2)


@dataclass(frozen=True, slots=True)
class Layout:
    """Of a weight (groups * out, in, kernel...): one matrix per group and kernel position.

    Attributes
    ----------
    groups : int
        Of a convolution; 3 where the query, key and value projections of an attention are
        stacked in one weight.
    """

    groups: int

    def matrices(self, weight: Any) -> Any:
        """A view of the weight, or its mask, of shape (groups, out, in, kernel...)."""
        return weight.unflatten(0, (self.groups, -1))

    def weight(self, matrices: Any) -> Any:
        """The inverse of :meth:`matrices`."""
        return matrices.flatten(0, 1)

    def matrix_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(out, in) of each matrix of a weight of this shape."""
        return shape[0] // self.groups, shape[1]


def layouts_of(module: Any) -> dict[str, Layout]:
    """The weights of a module that can be masked, by their names in it.

    ``nn.Linear``, ``nn.Conv1d``, ``nn.Conv2d``, ``nn.Conv3d`` and ``nn.MultiheadAttention`` have
    some; the output projection of an attention is a linear layer of its own.
    """
    if isinstance(module, nn.Linear):
        return {"weight": Layout(1)}
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return {"weight": Layout(module.groups)}
    if isinstance(module, nn.MultiheadAttention):
        apart = {f"{name}_proj_weight": Layout(1) for name in "qkv"}
        return apart | {"in_proj_weight": Layout(3)}
    return {}
