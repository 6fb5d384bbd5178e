"""The step function, and the estimate of its derivative that thresholds learn by."""

from __future__ import annotations

from typing import Any

import torch


class _Step(torch.autograd.Function):
    """1 where x >= 0, else 0; backwards by :func:`slope`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return (x >= 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        (x,) = ctx.saved_tensors
        return gradient * slope(x)


def step(x: Any) -> Any:
    """1 where x >= 0, else 0, of the dtype of x, with :func:`slope` for a derivative."""
    return _Step.apply(x)


def slope(x: Any) -> Any:
    """The long-tailed estimate of the derivative of a step (Liu et al., ICLR 2020).

    2 - 4 |x| where |x| <= 0.4, 0.4 from there to |x| = 1, and 0 beyond.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
    """
    size = x.abs()
    return torch.where(size <= 0.4, 2 - 4 * size, 0.4 * (size <= 1).to(x.dtype))
