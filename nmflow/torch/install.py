"""Masks put on a model's weights, and taken off."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils import parametrize

from nmflow.errors import NmflowError
from nmflow.torch.masked import Masked
from nmflow.torch.sharding import is_sharded


def install(masked: Masked, places: list[tuple[Any, str]]) -> None:
    """Let a parameter go through one mask wherever it stands."""
    for module, tensor in places:
        position = list(module._parameters).index(tensor)
        parametrize.register_parametrization(module, tensor, masked)
        module.parametrizations[tensor].position = position


def places_of(model: Any, masks: set[Masked] | None = None) -> list[tuple[Any, str, Masked]]:
    """Where masks are installed: those given, or all."""
    return [
        (module, tensor, parametrizations[0])
        for module in model.modules()
        for tensor, parametrizations in getattr(module, "parametrizations", {}).items()
        if isinstance(parametrizations[0], Masked)
        and (masks is None or parametrizations[0] in masks)
    ]


def bake(model: Any) -> None:
    """Write the masked weights into a model's parameters, and take the masks off.

    For a model without a handle, such as a deep copy; :meth:`Handle.bake` is for others.

    Raises
    ------
    NmflowError
        If the model has no masks, or its weights are sharded.
    """
    take_off(_found(model), write=True)


def remove(model: Any) -> None:
    """Take the masks off a model, and leave the dense weights.

    For a model without a handle, such as a deep copy; :meth:`Handle.remove` is for others.

    Raises
    ------
    NmflowError
        If the model has no masks, or its weights are sharded.
    """
    take_off(_found(model), write=False)


def _found(model: Any) -> list[tuple[Any, str, Masked]]:
    places = places_of(model)
    if not places:
        raise NmflowError(f"this {type(model).__name__} has no masks: nmflow.torch.sparsify it")
    return places


def take_off(places: list[tuple[Any, str, Masked]], write: bool) -> None:
    """Undo :func:`install`; with ``write`` the weights become the masked ones."""
    for module, tensor, _ in places:
        parametrizations = module.parametrizations[tensor]
        what = f"the {tensor} of a {parametrize.type_before_parametrizations(module).__name__}"
        if is_sharded(parametrizations.original):
            raise NmflowError(
                f"{what} is sharded: gather the state dict of the model into one that is not, and"
                " bake or remove the masks there"
            )
        if len(parametrizations) > 1:
            raise NmflowError(
                f"{what} goes through {type(parametrizations[1]).__name__} after its mask: remove"
                " that first"
            )
    written = set()
    for module, tensor, masked in reversed(places):
        parametrizations = module.parametrizations[tensor]
        if write and masked not in written:
            with torch.no_grad():
                parametrizations.original.copy_(masked(parametrizations.original))
            written.add(masked)
        _own_class(module)
        parametrize.remove_parametrizations(module, tensor, leave_parametrized=False)
        _move(module._parameters, tensor, parametrizations.position)


def _own_class(module: Any) -> None:
    """Give a parametrized module a class of its own.

    A deep copy shares the class that parametrization made, and removing a parametrization
    deletes the class's property: the copy would lose its weight.
    """
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))


def _move(parameters: dict[str, Any], name: str, position: int) -> None:
    """Put a parameter back in its place: optimizers save their state by the order of parameters."""
    for later in [other for other in parameters if other != name][position:]:
        parameters[later] = parameters.pop(later)
