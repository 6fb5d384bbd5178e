"""Which tensors of a checkpoint are pruned, and how they are matrices.

What names and shapes say is the table's (:mod:`nmflow.models`); here are dtypes, sizes, and the
globs that override it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nmflow.checkpoint.formats.tensor import FLOATING, Tensor
from nmflow.checkpoint.patterns import Patterns, matches
from nmflow.errors import NmflowError
from nmflow.models import Layout, Role, layouts_of, roles_of

_NOT_INCLUDED = "not included"


@dataclass(frozen=True, slots=True)
class Layer:
    """A tensor that is pruned.

    Attributes
    ----------
    tensor : Tensor
    layout : Layout
        How it is a batch of matrices (out, in).
    """

    tensor: Tensor
    layout: Layout

    @property
    def name(self) -> str:
        """The tensor's."""
        return self.tensor.name

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.tensor.size


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tensor that is left as it is.

    Attributes
    ----------
    name, reason : str
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What is pruned and what is not, both in the order of the file.

    Attributes
    ----------
    layers : tuple of Layer
    skipped : tuple of Skipped
    """

    layers: tuple[Layer, ...]
    skipped: tuple[Skipped, ...]


def choose_layers(
    tensors: Sequence[Tensor],
    m: int,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    patterns: Patterns | None = None,
) -> Selection:
    """Split the tensors of a checkpoint into layers to prune and the rest.

    Parameters
    ----------
    tensors : sequence of Tensor
    m : int
        By default a layer with fewer than m outputs or inputs is left.
    include : sequence of str
        Globs over tensor names that replace what the table says by name, if there are any.
    exclude : sequence of str
        Globs over the names of tensors to leave, whatever else says they are pruned.
    patterns : Patterns, optional
        Their patterns, in place of ``m``; tensors that have none are left.

    Raises
    ------
    NmflowError
        If a glob matches no tensor (or ``include`` none that can be pruned), or no layer is left.
    """
    roles, layouts = _rules(tensors)
    for glob in exclude:
        _matching("exclude", glob, tensors)
    for glob in include:
        _check_includable(glob, _matching("include", glob, tensors), layouts)
    decided: dict[str, Layout | str] = {}
    for tensor in tensors:
        layout = _layout(tensor, layouts)
        pattern = patterns and patterns.of(tensor.name)
        if patterns and pattern is None:
            layout = "no pattern for this layer"
        elif matches(tensor.name, exclude):
            layout = "excluded"
        elif include and not matches(tensor.name, include):
            layout = _NOT_INCLUDED
        elif not include:
            least = pattern.m if pattern else m
            layout = _by_default(tensor, layout, roles[tensor.name], least)
        decided[tensor.name] = layout
    _decide_shared(tensors, decided)
    layers, skipped = [], []
    for tensor in tensors:
        layout = decided[tensor.name]
        if isinstance(layout, str):
            skipped.append(Skipped(tensor.name, layout))
        else:
            layers.append(Layer(tensor, layout))
    if patterns:
        patterns.check([layer.name for layer in layers], [tensor.name for tensor in tensors])
    if not layers:
        raise NmflowError(_nothing_left(skipped))
    return Selection(tuple(layers), tuple(skipped))


def _rules(
    tensors: Sequence[Tensor],
) -> tuple[dict[str, Role | None], dict[str, Layout | str]]:
    """What the table says of each tensor, by the names within its network."""
    roles: dict[str, Role | None] = {}
    layouts: dict[str, Layout | str] = {}
    for scope in dict.fromkeys(tensor.scope for tensor in tensors):
        names = {t.name.removeprefix(scope): t for t in tensors if t.scope == scope}
        shapes = {name: tensor.shape for name, tensor in names.items()}
        roles |= {names[name].name: role for name, role in roles_of(shapes).items()}
        layouts |= {names[name].name: layout for name, layout in layouts_of(shapes).items()}
    return roles, layouts


def _decide_shared(tensors: Sequence[Tensor], decided: dict[str, Layout | str]) -> None:
    """Tensors that are one under several names are pruned once, or left if one of them is."""
    places: dict[tuple[int, int, int], list[str]] = {}
    for tensor in tensors:
        if tensor.stop > tensor.start:
            places.setdefault(tensor.place, []).append(tensor.name)
    for names in places.values():
        pruned = [name for name in names if isinstance(decided[name], Layout)]
        left = [n for n in names if n not in pruned and decided[n] != _NOT_INCLUDED]
        for name in names:
            if left and name in pruned:
                decided[name] = f"one with {left[0]!r}: {decided[left[0]]}"
            elif not left and pruned and name != pruned[0]:
                decided[name] = f"one with {pruned[0]!r}, pruned under that name"


def _layout(tensor: Tensor, layouts: Mapping[str, Layout | str]) -> Layout | str:
    """How the tensor is matrices; a str says why not even ``include`` makes it a layer."""
    return tensor.obstacle or layouts[tensor.name]


def _by_default(tensor: Tensor, layout: Layout | str, role: Role | None, m: int) -> Layout | str:
    """The layout, or why the tensor is left; the name's reason first, as it says most."""
    if role is not None and not tensor.obstacle:
        return role.value
    if isinstance(layout, Layout) and min(layout.matrix_size(tensor.shape)) < m:
        return f"fewer than m = {m} outputs or inputs"
    return layout


def _matching(option: str, glob: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    matched = [tensor for tensor in tensors if matches(tensor.name, (glob,))]
    if not matched:
        near = _near_names(glob, [tensor.name for tensor in tensors])
        raise NmflowError(f"{option} {glob!r} matches no tensor; {near}")
    return matched


def _check_includable(
    glob: str, matched: Sequence[Tensor], layouts: Mapping[str, Layout | str]
) -> None:
    reasons = [_layout(tensor, layouts) for tensor in matched]
    if any(isinstance(reason, Layout) for reason in reasons):
        return
    first = matched[0]
    raise NmflowError(
        f"include {glob!r} matches no tensor that can be pruned: {first.name!r} is"
        f" {first.dtype} of shape {first.shape} ({reasons[0]}); a layer is one of"
        f" {', '.join(FLOATING)} with two dimensions, or with more where its name and the tensors"
        " beside say which of them are outputs and inputs"
    )


def _near_names(glob: str, names: Sequence[str]) -> str:
    """A hint: the names that have a stretch of components most like the glob."""
    literal = re.sub(r"[*?\[\]]", "", glob).strip(".")
    length = literal.count(".") + 1
    stretches: dict[str, str] = {}
    for name in names:
        parts = name.split(".")
        for i in range(max(1, len(parts) - length + 1)):
            stretches.setdefault(".".join(parts[i : i + length]), name)
    near = difflib.get_close_matches(literal, stretches, n=3, cutoff=0.5)
    if near:
        return "near: " + ", ".join(dict.fromkeys(repr(stretches[key]) for key in near))
    listed = ", ".join(map(repr, names[:3]))
    return f"the file has {listed}{', ...' if len(names) > 3 else ''}"


def _nothing_left(skipped: Sequence[Skipped]) -> str:
    counts: dict[str, int] = {}
    for one in skipped:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    listed = ", ".join(f"{reason} ({count})" for reason, count in counts.items())
    return f"no layer to prune among {len(skipped)} tensors: {listed}; choose with include"
