"""The parametrization: dense weight -> masked weight, with the mask as a buffer."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn import functional

from nmflow.models import Layout
from nmflow.pattern import Pattern


class Masked(nn.Module):
    """A parametrization that multiplies a weight by a mask.

    Parameters
    ----------
    mask : bool Tensor
        Of the weight's shape.
    pattern : Pattern
    layout : Layout
    mean_absorption : bool
        Kept entries take up the mean of what their tile lost; see :func:`sparsify`.

    Attributes
    ----------
    mask : bool Tensor
        A registered buffer, changed in place at a refresh; it stays bool when the model is cast.
    straight_through : bool
        Whether pruned entries get the gradient too. False once masks are frozen.
    """

    def __init__(self, mask: Any, pattern: Pattern, layout: Layout, mean_absorption: bool) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.pattern = pattern
        self.layout = layout
        self.mean_absorption = mean_absorption
        self.straight_through = True

    def forward(self, weight: Any) -> Any:
        """The weight that the layer computes with."""
        pruned = weight * ~self.mask
        # w - w and w - 0 are exact, and a constant subtracted leaves the gradient as it is.
        masked = weight - (pruned.detach() if self.straight_through else pruned)
        if self.mean_absorption:
            return masked + self._absorbed(pruned.detach())
        return masked

    def _absorbed(self, pruned: Any) -> Any:
        """What each kept entry takes up, 0 at pruned ones."""
        axes = self.layout.matrix_axes(pruned.ndim)
        matrices = self.layout.matrices(pruned).movedim(axes, (-2, -1))
        rows, columns = matrices.shape[-2:]
        m = self.pattern.m
        tile = {
            "transposable": (m, m),
            "rows": (1, m),
            "columns": (m, 1),
            "unstructured": (rows, columns),
        }[self.pattern.name]
        # Pooling in ceil mode divides a partial tile by the entries that it has.
        means = functional.avg_pool2d(
            matrices.reshape(-1, 1, rows, columns), tile, stride=tile, ceil_mode=True
        )
        spread = means.repeat_interleave(tile[0], -2)[..., :rows, :]
        spread = spread.repeat_interleave(tile[1], -1)[..., :columns]
        whole = spread.reshape(matrices.shape).movedim((-2, -1), axes)
        return self.layout.tensor(whole) * self.mask

    def extra_repr(self) -> str:
        """Shown in the model's printout."""
        return str(self.pattern)
