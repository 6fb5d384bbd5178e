"""The parametrization: dense weight -> what exceeds the trainable thresholds of its rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.compiler import is_compiling

from nmflow.models import Layout
from nmflow.torch.dynamic.step import step
from nmflow.torch.masking.masked_weight import MaskedWeight
from nmflow.torch.masking.select import select

# Where a mask keeps a smaller share of a layer, its thresholds start again from zero.
LEAST_KEPT = 0.01


class Thresholded(nn.Module):
    """A parametrization that keeps of a weight what is no smaller than its row's threshold.

    Parameters
    ----------
    name : str
        Of the weight, in the model as it was when thresholds were put on it.
    weight : Tensor
        Of its shape, dtype and device the thresholds are made.
    layout : Layout

    Attributes
    ----------
    threshold : Parameter
        Zero at first. One for each row, that is, each output: of the shape of the weight with 1
        for the inputs and for kernel positions, so that it broadcasts. Of stacked experts each
        has its own.
    """

    def __init__(self, name: str, weight: Any, layout: Layout) -> None:
        super().__init__()
        self.name = name
        shape = threshold_shape(tuple(weight.shape), layout)
        zeros = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self.threshold = nn.Parameter(zeros)

    def forward(self, weight: Any) -> Any:
        """The weight that the layer computes with."""
        self._start_anew_if_starved(weight)
        masked = weight * step(weight.abs() - self.threshold)
        return masked if is_compiling() else MaskedWeight.of(masked, weight, self)

    @torch.no_grad()
    def _start_anew_if_starved(self, weight: Any) -> None:
        """Set the thresholds to zero where hardly anything is kept.

        Without a branch, so that no accelerator is waited for and no compiled graph is cut.
        """
        kept = torch.count_nonzero(weight.abs() >= self.threshold)
        enough = kept >= LEAST_KEPT * weight.numel()
        self.threshold.copy_(torch.where(enough, self.threshold, 0))

    def right_inverse(self, value: Any) -> Any:
        """The dense weight that an assignment to the layer's weight means: the value itself."""
        if isinstance(value, MaskedWeight) and value.source is self:
            return value.dense
        return value

    def check_assignable(self, value: Any) -> None:
        """Any dense weight may be assigned."""

    @torch.no_grad()
    def baked(self, weight: Any) -> Any:
        """What the layer computes with, +0 where it is pruned."""
        masked = self(weight).detach()
        return select(masked, masked != 0)


def threshold_shape(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """Of the thresholds of a weight of this shape: see :class:`Thresholded`."""
    out_axis, in_axis = (axis % len(shape) for axis in layout.axes)
    # Axes in front of the matrices' are a batch; those behind are the positions of a kernel.
    own = {out_axis, *range(min(out_axis, in_axis))}
    return tuple(side if axis in own else 1 for axis, side in enumerate(shape))
