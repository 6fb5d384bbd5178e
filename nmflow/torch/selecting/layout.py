"""Which weights of a module are matrices (out, in), by the module's class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from nmflow.errors import NmflowError
from nmflow.models import Layout

# Of a module class of the user's: the weight's name and its axes (out, in), or a list of such.
Axes = tuple[int, int]
Layouts = Mapping[type, tuple[str, Axes] | Iterable[tuple[str, Axes]]] | None

_BASES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_FORWARDS = ("forward", "_conv_forward")


def layouts_of(
    module: Any, layouts: Mapping[type, Mapping[str, Layout]] | None = None
) -> dict[str, Layout]:
    """The weights of a module that can be masked, by their names in it.

    ``nn.Linear``, ``nn.Conv1d``, ``nn.Conv2d``, ``nn.Conv3d``, ``nn.MultiheadAttention``,
    ``nn.Embedding`` and the ``Conv1D`` of transformers have some; the output projection of an
    attention is a linear layer of its own.

    Parameters
    ----------
    module : Module
    layouts : mapping, optional
        Of other classes, and of subclasses of these: what :func:`as_layouts` returns.
    """
    classes = type_before_parametrizations(module).__mro__
    for kind in classes:
        if layouts and kind in layouts:
            return dict(layouts[kind])
    if isinstance(module, nn.Linear | nn.Embedding | nn.EmbeddingBag):
        return {"weight": Layout()}
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return {"weight": Layout(groups=module.groups)}
    if isinstance(module, nn.MultiheadAttention):
        apart = {f"{name}_proj_weight": Layout() for name in "qkv"}
        return apart | {"in_proj_weight": Layout(groups=3)}
    # A linear layer that keeps (in, out), found without importing transformers.
    if any(k.__name__ == "Conv1D" and k.__module__.startswith("transformers.") for k in classes):
        return {"weight": Layout((1, 0))}
    return {}


def as_layouts(layouts: Layouts) -> dict[type, dict[str, Layout]]:
    """What a user says of other classes, checked.

    Raises
    ------
    NmflowError
        If it is no mapping of module classes to pairs of a name and axes.
    """
    if layouts is None:
        return {}
    if not isinstance(layouts, Mapping):
        raise NmflowError(_explain(f"got {layouts!r}"))
    checked = {}
    for kind, given in layouts.items():
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise NmflowError(_explain(f"{kind!r} is no class of modules"))
        entries: Any = given
        if isinstance(entries, tuple) and entries and isinstance(entries[0], str):
            entries = [entries]
        if isinstance(entries, str) or not isinstance(entries, Iterable):
            raise NmflowError(_explain(f"{kind.__name__} has {entries!r}"))
        checked[kind] = dict(_entry(kind, entry) for entry in entries)
    return checked


def _entry(kind: type, entry: Any) -> tuple[str, Layout]:
    try:
        name, (out_axis, in_axis) = entry
    except (TypeError, ValueError):
        raise NmflowError(_explain(f"{kind.__name__} has {entry!r}")) from None
    integers = all(type(axis) is int for axis in (out_axis, in_axis))
    if not isinstance(name, str) or not integers or out_axis == in_axis:
        raise NmflowError(_explain(f"{kind.__name__} has {entry!r}"))
    return name, Layout((out_axis, in_axis))


def _explain(fault: str) -> str:
    return (
        f"layouts: {fault}, but it must map a module class to a weight's name and its axes"
        ' (out, in), as in {MyLinear: ("weight", (0, 1))}, or to a list of such'
    )


def resolve(layout: Layout, shape: tuple[int, ...], name: str) -> Layout:
    """The layout with axes counted from the front.

    Raises
    ------
    NmflowError
        If the weight has no such axes.
    """
    ndim = len(shape)
    axes = tuple(axis + ndim if axis < 0 else axis for axis in layout.axes)
    if not all(0 <= axis < ndim for axis in axes) or axes[0] == axes[1]:
        raise NmflowError(f"layouts: {name} of shape {shape} has no axes (out, in) = {layout.axes}")
    return Layout((axes[0], axes[1]), layout.groups)


def own_forward(module: Any) -> str | None:
    """The class of a linear or convolution layer that computes in a forward of its own."""
    kind = type_before_parametrizations(module)
    for base in _BASES:
        if issubclass(kind, base):
            own = (getattr(kind, name, None) is not getattr(base, name, None) for name in _FORWARDS)
            return kind.__name__ if any(own) else None
    return None
