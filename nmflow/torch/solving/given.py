"""Masks that the user brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch

from nmflow.errors import NmflowError
from nmflow.problem.pattern import check_known
from nmflow.torch.masking.counting import fault
from nmflow.torch.masking.masked import Masked
from nmflow.torch.solving.mask_set import MaskSet

Masks = Mapping[str, Any] | Callable[[str, Any], Any] | Literal["zeros"] | None


def put_in_force(masks: Masks, mask_set: MaskSet) -> None:
    """Put given masks on the weights that they are given for.

    Raises
    ------
    NmflowError
        If one is for no weight that is masked, of another shape or dtype, or not n:m, as the zeros
        of a weight may not be.
    """
    if masks is None:
        return
    if isinstance(masks, str):
        check_known("masks", masks, ("zeros",))
        for layer in mask_set.layers:
            _take_zeros(layer.masked, layer.weight.detach())
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


def allow_nonzeros(mask_set: MaskSet) -> None:
    """Let no mask, now or later, keep what is 0 now.

    Raises
    ------
    NmflowError
        If a weight has no values yet.
    """
    for layer in mask_set.layers:
        _check_values(layer.masked)
        layer.solver.allowed = layer.weight.detach() != 0


def _take_zeros(masked: Masked, weight: Any) -> None:
    _check_values(masked)
    mask, pattern = weight != 0, masked.problem.pattern
    if problem := fault(mask, masked.layout, pattern, False, masked.problem.unit):
        raise NmflowError(
            f"the zeros of {masked.name} are not {pattern}: {problem}. Ask for a larger n"
            " (nmflow.suggest_n), exclude this weight, or leave masks out to have the best mask"
            " solved"
        )
    _put(masked, mask)


def _take(masked: Masked, mask: Any) -> None:
    wanted, pattern = tuple(masked.mask.shape), masked.problem.pattern
    if tuple(mask.shape) != wanted or mask.dtype != torch.bool:
        raise NmflowError(
            f"mask of {masked.name}: expected a bool tensor of shape {wanted}, got {mask.dtype} of"
            f" shape {tuple(mask.shape)}"
        )
    if problem := fault(mask, masked.layout, pattern, False, masked.problem.unit):
        raise NmflowError(f"mask of {masked.name} is not {pattern}: {problem}")
    _check_values(masked)
    _put(masked, mask)


def _check_values(masked: Masked) -> None:
    if masked.mask.is_meta:
        raise NmflowError(
            f"{masked.name} is on the meta device, where its mask has no values: sparsify once the"
            " weights are there, or load the masks with the model's state dict"
        )


def _put(masked: Masked, mask: Any) -> None:
    with torch.no_grad():
        masked.mask.copy_(mask)
    masked.kept, masked.given = masked.problem.pattern.n, True
