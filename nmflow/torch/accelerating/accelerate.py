"""Sparse layers put into a model where its weights allow it, and a report of where they don't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from nmflow.torch.accelerating.sparse_linear import SparseLinear
from nmflow.torch.accelerating.support import why_not_device, why_not_weight


@dataclass(frozen=True, slots=True)
class AcceleratedLayer:
    """What became of one linear layer.

    Attributes
    ----------
    name : str
    shape : tuple of int
        (out, in).
    replaced : bool
        Whether it is a :class:`SparseLinear` now.
    reason : str
        Why it is not, or why that one is dense where its weight lies now; empty if it is sparse.
    """

    name: str
    shape: tuple[int, int]
    replaced: bool
    reason: str

    def __str__(self) -> str:
        out, into = self.shape
        state = "dense" if self.reason else "sparse"
        return f"{self.name} ({out} x {into}): {state}{': ' if self.reason else ''}{self.reason}"


def accelerate(model: torch.nn.Module) -> tuple[AcceleratedLayer, ...]:
    """Let a model's 2:4 transposable linear layers run on sparse tensor cores, in both passes.

    Each ``Linear`` whose weight's zeros are 2:4 along rows and columns, after ``bake`` or
    ``convert``, becomes a :class:`SparseLinear` with the same parameters. All others stay as they
    are: other patterns have no native kernel. It may be called again, after a move to another
    device.

    Parameters
    ----------
    model : Module
        Changed in place.

    Returns
    -------
    tuple of AcceleratedLayer
        One for each linear layer, with the reason where it is dense.
    """
    found = []
    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear):
            continue
        reason = _why_not(module)
        if not reason and not isinstance(module, SparseLinear):
            parent, _, last = name.rpartition(".")
            if name:
                setattr(model.get_submodule(parent), last, SparseLinear(module))
            else:
                reason = "it is the model itself: make it nmflow.torch.SparseLinear(model)"
        shape = (module.out_features, module.in_features)
        dense = reason or why_not_device(module.weight.device) or ""
        found.append(AcceleratedLayer(name, shape, not reason, dense))
    return tuple(found)


def _why_not(module: Any) -> str:
    if type(module) not in (torch.nn.Linear, SparseLinear):
        if torch.nn.utils.parametrize.is_parametrized(module):
            return "its weight is parametrized: bake its mask first (nmflow.torch.bake)"
        return f"{type(module).__name__} may multiply by its weight in its own way"
    if module.weight.is_meta:
        return "its weight has no values, on the meta device"
    return why_not_weight(module.weight.detach()) or ""
