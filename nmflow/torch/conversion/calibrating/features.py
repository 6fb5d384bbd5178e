"""What a layer multiplies its weight by, as (samples, features) for each of its matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nmflow.errors import NmflowError
from nmflow.models import Layout
from nmflow.torch.selecting.sites import Site

_INPUTS_OF_ATTENTION = ("query", "key", "value")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def first_tensor(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The input of a layer that has one."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor):
            return value
    return None


def features_of(
    site: Site, layout: Layout, args: Sequence[Any], kwargs: Mapping[str, Any], counts: Any
) -> list[Any]:
    """What the matrices of a weight are multiplied by in one call of its module.

    Parameters
    ----------
    site : Site
    layout : Layout
        Of the weight.
    args, kwargs
        Of the module's call.
    counts : bool Tensor (batch, length) or None
        Which positions of a sequence count; padding does not.

    Returns
    -------
    list of Tensor (samples, features)
        For each group of the layout; of float32 or float64.

    Raises
    ------
    NmflowError
        If the call has no input of as many features as the weight.
    """
    module = site.module
    if isinstance(module, nn.MultiheadAttention):
        return [rows_of(each) for each in _attention_inputs(site, args, kwargs)]
    seen = first_tensor(args, kwargs)
    if isinstance(module, CONVOLUTIONS):
        return _patches(module, seen)
    inputs = layout.matrix_size(site.shape)[1]
    if seen is None or seen.shape[-1] != inputs:
        got = "no tensor" if seen is None else f"a tensor of shape {tuple(seen.shape)}"
        raise NmflowError(
            f"{site.name}: its module ({site.kind}) is called with {got}, not with one of {inputs}"
            " features: what its weight multiplies can't be told; leave it out with exclude"
        )
    return [rows_of(seen, counts)] * layout.groups


def rows_of(tensor: Any, counts: Any = None) -> Any:
    """(samples, features), in a precision in which products can be added up."""
    if counts is not None and tensor.ndim == 3 and tensor.shape[:2] == counts.shape:
        tensor = tensor[counts.to(tensor.device)]
    rows = tensor.detach().reshape(-1, tensor.shape[-1])
    return rows if rows.dtype == torch.float64 else rows.to(torch.float32)


def _attention_inputs(site: Site, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    given = dict(zip(_INPUTS_OF_ATTENTION, args, strict=False)) | dict(kwargs)
    if site.tensor == "in_proj_weight":
        return [given[name] for name in _INPUTS_OF_ATTENTION]
    return [given[{"q": "query", "k": "key", "v": "value"}[site.tensor[0]]]]


def _patches(module: Any, images: Any) -> list[Any]:
    """The patches that each group of a convolution sees, features by position, then channel."""
    spatial = len(module.kernel_size)
    if images.ndim == spatial + 1:
        images = images.unsqueeze(0)
    padding = module._reversed_padding_repeated_twice
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    images = functional.pad(images.detach(), padding, mode)
    for axis in range(spatial):
        dilation = module.dilation[axis]
        reach = dilation * (module.kernel_size[axis] - 1) + 1
        # Each unfolding puts the positions of its axis last.
        images = images.unfold(2 + axis, reach, module.stride[axis])[..., ::dilation]
    images = images.unflatten(1, (module.groups, images.shape[1] // module.groups))
    # (groups, batch, places..., positions..., channels of a group)
    images = images.movedim(1, 0).movedim(2, -1)
    columns = images.shape[-1]
    for size in module.kernel_size:
        columns *= size
    return [rows_of(group.reshape(-1, columns)) for group in images]


def output_projection_inputs(
    attention: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Any]:
    """What ``nn.MultiheadAttention`` multiplies the weight of its output projection by.

    It reads that weight without calling its module, so it is run once more with an identity there.
    """
    weight = attention.out_proj.weight
    identity = {"out_proj.weight": torch.eye(*weight.shape, dtype=weight.dtype).to(weight.device)}
    if attention.out_proj.bias is not None:
        identity["out_proj.bias"] = torch.zeros_like(attention.out_proj.bias)
    outputs = torch.func.functional_call(attention, identity, tuple(args), dict(kwargs))
    return [rows_of(outputs[0])]
