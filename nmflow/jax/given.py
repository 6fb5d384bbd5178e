"""Masks that the user brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from nmflow.certify import certify
from nmflow.errors import NmflowError
from nmflow.jax.selecting import Weight
from nmflow.problem.pattern import check_known
from nmflow.training.policy import Refresh

Masks = Mapping[str, Any] | Callable[[str, Any], Any] | Literal["zeros"] | None


def check_masks(masks: Masks, policy: Refresh | None) -> None:
    """Raise for a word that says nothing, and for masks that are not to be in force at first."""
    if isinstance(masks, str):
        check_known("masks", masks, ("zeros",))
    if masks is not None and policy is not None and policy.begin:
        raise NmflowError(
            f"masks are in force from the first step, and begin={policy.begin} is dense until then:"
            " leave one of the two out"
        )


def masks_given(masks: Masks, weights: Sequence[Weight], values: Sequence[Any]) -> list[Any]:
    """The mask of each weight, or None where it is to be solved.

    Raises
    ------
    NmflowError
        If one is for no weight that is masked, of another shape or dtype, or not n:m, as the zeros
        of a weight may not be. Under ``jit`` values aren't there to be counted.
    """
    if masks is None:
        return [None] * len(weights)
    if isinstance(masks, str):
        return [_counted(w, v != 0, "the zeros") for w, v in zip(weights, values, strict=True)]
    if not callable(masks):
        names = {weight.path for weight in weights}
        if unknown := sorted(set(masks) - names):
            raise NmflowError(
                f"masks for no parameter that is masked: {', '.join(unknown)}; use the paths that"
                f" the report prints, such as {min(names)}"
            )
    found = []
    for weight, value in zip(weights, values, strict=True):
        mask = masks(weight.path, value) if callable(masks) else masks.get(weight.path)
        found.append(None if mask is None else _checked(weight, jnp.asarray(mask)))
    return found


def _checked(weight: Weight, mask: Any) -> Any:
    if mask.shape != weight.shape or mask.dtype != np.bool_:
        raise NmflowError(
            f"mask of {weight.path}: expected bools of shape {weight.shape}, got {mask.dtype} of"
            f" shape {mask.shape}"
        )
    return _counted(weight, mask, "the mask")


def _counted(weight: Weight, mask: Any, what: str) -> Any:
    """The mask, of which no group holds more than n."""
    if isinstance(mask, jax.core.Tracer):
        return mask
    host, pattern, layout = np.asarray(mask), weight.pattern, weight.layout
    matrices = layout.matrices(host)
    axes = layout.matrix_axes(len(weight.shape))
    # Of these scores any mask is as good as any other.
    flat = np.zeros(matrices.shape, np.float32)
    found = certify(flat, matrices, pattern.n, pattern.m, pattern=pattern.name, axes=axes)
    if not found.feasible:
        raise NmflowError(
            f"{what} of {weight.path}: not {pattern}: {found.violations[0]}. Ask for a larger n"
            " (nmflow.suggest_n), exclude this parameter, or leave masks out to have the best mask"
            " solved"
        )
    return mask
