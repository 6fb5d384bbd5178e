"""Masks that the user brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.torch.masking.counting import fault
from nmflow.torch.masking.masked import Masked
from nmflow.torch.solving.mask_set import MaskSet

Masks = Mapping[str, Any] | Callable[[str, Any], Any] | None


def put_in_force(masks: Masks, mask_set: MaskSet) -> None:
    """Put given masks on the weights that they are given for.

    Raises
    ------
    NmflowError
        If one is for no weight that is masked, of another shape or dtype, or not n:m.
    """
    if masks is None:
        return
    if not callable(masks):
        names = {layer.name for layer in mask_set.layers}
        if unknown := sorted(set(masks) - names):
            raise NmflowError(
                f"masks for no weight that is masked: {', '.join(unknown)}; use the names that the"
                f" report prints, such as {min(names)}"
            )
    for layer in mask_set.layers:
        name = layer.name
        mask = masks(name, layer.weight.detach()) if callable(masks) else masks.get(name)
        if mask is not None:
            _take(layer.masked, torch.as_tensor(mask))


def _take(masked: Masked, mask: Any) -> None:
    wanted, pattern = tuple(masked.mask.shape), masked.problem.pattern
    if tuple(mask.shape) != wanted or mask.dtype != torch.bool:
        raise NmflowError(
            f"mask of {masked.name}: expected a bool tensor of shape {wanted}, got {mask.dtype} of"
            f" shape {tuple(mask.shape)}"
        )
    if problem := fault(mask, masked.layout, pattern, full=False):
        raise NmflowError(f"mask of {masked.name} is not {pattern}: {problem}")
    if masked.mask.is_meta:
        raise NmflowError(
            f"{masked.name} is on the meta device, where its mask has no values: sparsify once the"
            " weights are there, or load the masks with the model's state dict"
        )
    with torch.no_grad():
        masked.mask.copy_(mask)
    masked.kept, masked.given = pattern.n, True
