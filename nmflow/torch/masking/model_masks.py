"""Masks of a model without its handle, such as a deep copy or a moving average of one."""

from __future__ import annotations

import re
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.torch.masking.install import Place, check, check_removable, found, take_off, write
from nmflow.torch.masking.masked import Masked
from nmflow.torch.masking.select import select
from nmflow.torch.masking.sharding import is_sharded, local, local_part
from nmflow.torch.solving.layer import Layer, accept_all


def refresh(model: Any) -> None:
    """Solve all masks of a model for its weights as they are now.

    For a copy whose weights went another way than the masks that it was copied with, such as an
    exponential moving average: call it before the copy is evaluated or baked. Masks keep their
    final n of every m, whatever stage of a ramp they were copied at; frozen ones are solved too.

    Parameters
    ----------
    model : torch.nn.Module

    Raises
    ------
    NmflowError
        If the model has no masks, or one can't be solved; then all stay as they were.
    """
    places: dict[Masked, list[Place]] = {}
    for place in found(model):
        places.setdefault(place.masked, []).append(place)
    changes = []
    try:
        for masked, its in places.items():
            changes.append(Layer(masked, its).propose(masked.problem.pattern.n))
    except BaseException:
        for change in changes:
            change.proposal.reject()
        raise
    accept_all(changes)


def bake(model: Any) -> None:
    """Write the masked weights into a model's parameters, and take the masks off.

    For a model without a handle, such as a deep copy; :meth:`Handle.bake` is for others.

    Raises
    ------
    NmflowError
        If the model has no masks, one of them was never solved or is not n:m when counted, or
        weights are sharded. The model stays as it was.
    """
    bake_places(found(model))


def bake_places(places: list[Place]) -> None:
    """Count, write and take off, or leave all as it is."""
    check_removable(places)
    check(places)
    write(places)
    take_off(places)


def remove(model: Any) -> None:
    """Take the masks off a model, and leave the dense weights.

    For a model without a handle, such as a deep copy; :meth:`Handle.remove` is for others.

    Raises
    ------
    NmflowError
        If the model has no masks, or its weights are sharded.
    """
    remove_places(found(model))


def remove_places(places: list[Place]) -> None:
    """Take off, or leave all as it is."""
    check_removable(places)
    take_off(places)


def sparse_state_dict(model: Any) -> dict[str, Any]:
    """The state dict that a model would have with its masks baked in, under plain names.

    It loads into the same model without masks, in the middle of training too. Weights that are
    not masked are the model's own memory, as in ``state_dict()``; masked ones are new tensors.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    dict of str to Tensor
        Sharded weights stay sharded.

    Raises
    ------
    NmflowError
        If the model has no masks, or one of them was never solved or is not n:m when counted.
    """
    places = found(model)
    check(places)
    masked = {place.name: place for place in places}
    state: dict[str, Any] = {}
    for name, value in model.state_dict().items():
        entry = _ENTRY.fullmatch(name)
        place = masked.get(entry["module"] + entry["tensor"]) if entry else None
        if place is None:
            state[name] = value
        elif entry and entry["part"] == "original":
            state[place.name] = _masked_value(place, value)
    return state


# How PyTorch names what belongs to a parametrized tensor.
_ENTRY = re.compile(
    r"(?P<module>(.*\.)?)parametrizations\.(?P<tensor>[^.]+)\.(?P<part>[^.]+)(\..+)?"
)


@torch.no_grad()
def _masked_value(place: Place, value: Any) -> Any:
    masked = place.masked
    if not is_sharded(value):
        return select(masked(value).detach(), masked.mask)
    from torch.distributed.tensor import DTensor

    if masked.mean_absorption:
        raise NmflowError(
            f"{place.name} is sharded and takes up the mean of what is pruned, for which its whole"
            " tiles are needed: gather the state dict into a model that is not sharded"
        )
    part = select(local(value), local_part(masked.mask, value))
    whole_shape = {"shape": value.shape, "stride": value.stride()}
    return DTensor.from_local(part, value.device_mesh, value.placements, **whole_shape)
