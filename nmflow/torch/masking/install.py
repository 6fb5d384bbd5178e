"""Masks put on a model's weights, found there again, and taken off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import parametrize

from nmflow.errors import NmflowError
from nmflow.torch.masking.masked import Masked
from nmflow.torch.masking.select import select
from nmflow.torch.masking.sharding import is_sharded, whole


class Place(NamedTuple):
    """Where a mask is installed.

    Attributes
    ----------
    module : Module
    tensor : str
        The weight's name in the module.
    masked : Module
        The parametrization, :class:`Masked` unless another was asked for.
    name : str
        Of the weight, in the model as it is now.
    """

    module: Any
    tensor: str
    masked: Any
    name: str

    @property
    def parametrizations(self) -> Any:
        """Where PyTorch keeps the dense weight and the mask."""
        return self.module.parametrizations[self.tensor]

    @property
    def weight(self) -> Any:
        """The dense weight."""
        return self.parametrizations.original


def install(masked: Any, module: Any, tensor: str) -> None:
    """Let a parameter go through a mask, or another parametrization."""
    position = list(module._parameters).index(tensor)
    parameter = module._parameters[tensor]
    # PyTorch's call sets the parameter to itself, which parts it from the node of the graph that
    # DistributedDataParallel has hooks on: let it do so with another one on the same memory.
    module._parameters[tensor] = nn.Parameter(parameter.data, parameter.requires_grad)
    parametrize.register_parametrization(module, tensor, masked)
    module.parametrizations[tensor]._parameters["original"] = parameter
    module.parametrizations[tensor].position = position


def places_of(
    model: Any, masks: Iterable[Any] | None = None, kind: type[nn.Module] = Masked
) -> list[Place]:
    """Where masks, or what of that kind, are installed in a model as it is now: some, or all."""
    wanted = None if masks is None else set(masks)
    return [
        Place(module, tensor, parametrizations[0], f"{name}.{tensor}".lstrip("."))
        for name, module in model.named_modules()
        for tensor, parametrizations in getattr(module, "parametrizations", {}).items()
        if isinstance(parametrizations[0], kind)
        and (wanted is None or parametrizations[0] in wanted)
    ]


def found(model: Any) -> list[Place]:
    """Where all masks of a model are.

    Raises
    ------
    NmflowError
        If there are none.
    """
    places = places_of(model)
    if not places:
        raise NmflowError(f"this {type(model).__name__} has no masks: nmflow.torch.sparsify it")
    return places


def check(places: Iterable[Place]) -> None:
    """Count every group of some masks.

    Raises
    ------
    NmflowError
        If a mask was never solved or is not n:m, naming its weight.
    """
    faults = [f"{place.name}: {fault}" for place in places if (fault := place.masked.fault())]
    if faults:
        raise NmflowError(
            "these masks are not what their weights should be written with, and all stay as they"
            " are; refresh() solves them anew, in a copy of a model nmflow.torch.refresh(copy):\n"
            + "\n".join(dict.fromkeys(faults))
        )


def write(places: Iterable[Place]) -> None:
    """Write the masked weights into the dense ones, each once."""
    with torch.no_grad():
        for masked, weight in {place.masked: place.weight for place in places}.items():
            values = masked(weight)
            # What is pruned may be infinite, and mean absorption must not leave a trace there.
            weight.copy_(select(values.detach(), masked.mask))


def take_off(places: list[Place]) -> None:
    """Undo :func:`install`."""
    for place in reversed(places):
        parametrizations = place.parametrizations
        # PyTorch's own exchange of modules makes new lists, without their position.
        position = getattr(parametrizations, "position", 0)
        _own_class(place.module)
        parametrize.remove_parametrizations(place.module, place.tensor, leave_parametrized=False)
        _move(place.module._parameters, place.tensor, position)


def check_removable(places: Iterable[Place]) -> None:
    """Raise where PyTorch could not take a mask off, before any is."""
    for place in places:
        if is_sharded(place.weight):
            raise NmflowError(
                f"{place.name} is sharded: gather the state dict of the model into one that is"
                " not, and bake or remove the masks there"
            )
        if len(place.parametrizations) > 1:
            later = type(place.parametrizations[1]).__name__
            raise NmflowError(
                f"{place.name} goes through {later} after its mask: remove that first"
            )
        whole(place.weight)


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
