"""Which parameters are masked, along which axes, and why others are not."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from nmflow.errors import NmflowError
from nmflow.jax.classes import told_by_classes
from nmflow.jax.paths import paths_of
from nmflow.models import Layout, Role, layouts_of, roles_of
from nmflow.problem.pattern import Pattern
from nmflow.training.report import LayerReport, Report
from nmflow.training.sizes import note_on_edges, too_small

_DTYPES = ("float16", "bfloat16", "float32", "float64")

Wish = str | Callable[[str, Any], bool]
# Globs over paths, functions of (path, leaf).
Wanted = Wish | Iterable[Wish] | None
# Globs over paths to axes (out, in).
Layouts = Mapping[str, tuple[int, int]] | None


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter to be masked.

    Attributes
    ----------
    path : str
    index : int
        Which leaf it is.
    shape : tuple of int
    dtype : str
    layout : Layout
    pattern : Pattern
    """

    path: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    layout: Layout
    pattern: Pattern

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a user says of which parameters are masked; see :func:`nmflow.jax.sparsify`."""

    patterns: Pattern | Mapping[str, Pattern]
    include: Wanted = None
    exclude: Wanted = None
    layouts: Layouts = None

    def choose(self, params: Any) -> tuple[list[Weight], Report]:
        """The parameters to mask, in the order of the leaves, and the report on all.

        Parameters
        ----------
        params : pytree
            Of arrays, or of what has their shape and dtype. What has no leaves, as optax hands it
            over to learn how a state is made, has no parameters to mask.

        Raises
        ------
        NmflowError
            If a glob matches nothing that can be masked, or nothing is left.
        """
        names, leaves, structure = paths_of(params)
        table = _Table(params, names, leaves, self.layouts)
        known = [name for name in table.shapes if isinstance(table.layouts[name], Layout)]
        if structure.num_leaves == 0:
            return [], Report((), 0)
        _check_globs("include", self.include, known)
        _check_globs("exclude", self.exclude, list(table.shapes))
        if isinstance(self.patterns, Mapping):
            _check_globs("the", self.patterns, list(table.shapes))
        weights, lines, left = [], [], []
        for index, (name, leaf) in enumerate(zip(names, leaves, strict=True)):
            if len(table.shapes.get(name, ())) < 2:
                continue
            reason, pattern = self._reason(name, leaf, table), self._pattern(name)
            role = table.roles[name]
            if self.include is None and role is not None:
                left += [name] if reason is None else []
                reason = f"{role} (dense unless included)" if reason is None else role
            layout = table.layouts[name]
            shape, dtype = table.shapes[name], str(leaf.dtype)
            if reason is None and pattern is not None and isinstance(layout, Layout):
                weights.append(Weight(name, index, shape, dtype, layout, pattern))
                lines.append(_chosen(weights[-1]))
            else:
                lines.append(
                    LayerReport(name, shape, "skipped", reason or "", math.prod(shape), None)
                )
        report = Report(tuple(lines), sum(map(math.prod, table.shapes.values())))
        if not weights:
            raise NmflowError(_nothing(report, left))
        return weights, report

    def _pattern(self, name: str) -> Pattern | None:
        if isinstance(self.patterns, Pattern):
            return self.patterns
        return next((found for glob, found in self.patterns.items() if _fits(glob, name)), None)

    def _reason(self, name: str, leaf: Any, table: _Table) -> str | None:
        """Why a parameter isn't masked, its role aside."""
        if _is_wanted(self.exclude, name, leaf):
            return "excluded"
        if self.include is not None and not _is_wanted(self.include, name, leaf):
            return "not included"
        layout, pattern = table.layouts[name], self._pattern(name)
        if isinstance(layout, str):
            return layout
        if pattern is None:
            return "no pattern is given for it"
        if str(leaf.dtype) not in _DTYPES:
            return f"of dtype {leaf.dtype}: float16, bfloat16, float32 and float64 can be masked"
        return too_small(layout, table.shapes[name], pattern)


class _Table:
    """Shapes, layouts and roles of all parameters: by the user, else the class, else the name."""

    def __init__(
        self, params: Any, names: Sequence[str], leaves: Sequence[Any], given: Layouts
    ) -> None:
        self.shapes = {
            name: tuple(leaf.shape)
            for name, leaf in zip(names, leaves, strict=True)
            if hasattr(leaf, "shape") and hasattr(leaf, "dtype")
        }
        dotted = {name: _dotted(name) for name in self.shapes}
        shapes = {dotted[name]: shape for name, shape in self.shapes.items()}
        layouts, roles = layouts_of(shapes), roles_of(shapes)
        self.layouts: dict[str, Layout | str] = {n: layouts[dotted[n]] for n in self.shapes}
        self.roles: dict[str, Role | None] = {name: roles[dotted[name]] for name in self.shapes}
        for name, told in told_by_classes(params).items():
            if name in self.shapes:
                self._put(name, told)
        _check_globs("layouts", given, list(self.shapes))
        for glob, axes in (given or {}).items():
            for name, shape in self.shapes.items():
                if _fits(glob, name):
                    self._put(name, _as_layout(glob, axes, name, shape))

    def _put(self, name: str, told: Layout | Role | str) -> None:
        if isinstance(told, Role):
            self.roles[name] = told
            return
        self.layouts[name] = told
        # Who knows a layout knows better than an unusual name.
        if self.roles[name] is Role.UNNAMED:
            self.roles[name] = None


def _dotted(path: str) -> str:
    return path.replace(".", "_").replace("/", ".")


def _as_layout(glob: str, axes: Any, name: str, shape: tuple[int, ...]) -> Layout:
    pair = isinstance(axes, tuple) and [type(axis) for axis in axes] == [int, int]
    if not pair or not all(-len(shape) <= axis < len(shape) for axis in axes):
        raise NmflowError(
            f"layouts: {glob!r} has {axes!r}, but {name} of shape {shape} needs its axes (out, in),"
            " such as (1, 0)"
        )
    out_axis, in_axis = (axis % len(shape) for axis in axes)
    if out_axis == in_axis:
        raise NmflowError(f"layouts: {glob!r} has {axes!r}, twice the same axis of {name}")
    return Layout((out_axis, in_axis))


def _wishes(wanted: Wanted | Mapping[str, Any]) -> list[Wish]:
    if wanted is None:
        return []
    return [wanted] if isinstance(wanted, str) or callable(wanted) else list(wanted)


def _is_wanted(wanted: Wanted, name: str, leaf: Any) -> bool:
    return any(
        _fits(wish, name) if isinstance(wish, str) else bool(wish(name, leaf))
        for wish in _wishes(wanted)
    )


def _fits(glob: str, name: str) -> bool:
    """Whether a glob means a parameter, or the module that it is in."""
    names = (name, name.rpartition("/")[0])
    return any(glob == each or fnmatchcase(each, glob) for each in names)


def _check_globs(option: str, wanted: Wanted | Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise where a wish is no wish, or a glob matches nothing."""
    for wish in _wishes(wanted):
        if not isinstance(wish, str):
            if callable(wish):
                continue
            raise NmflowError(f"{option} takes globs and functions of (path, leaf), got {wish!r}")
        if not any(_fits(wish, name) for name in names):
            near = difflib.get_close_matches(wish, names, 3, 0) or ["none"]
            raise NmflowError(
                f"{option} pattern {wish!r} matches no parameter to mask;"
                f" the nearest are {', '.join(map(repr, near))}"
            )


def _chosen(weight: Weight) -> LayerReport:
    note = note_on_edges(weight.layout, weight.shape, weight.pattern) or ""
    return LayerReport(weight.path, weight.shape, "sparsified", note, weight.size, weight.pattern)


def _nothing(report: Report, left: Sequence[str]) -> str:
    what = "nothing to sparsify in these parameters"
    if left:
        what += f": {left[0]} is dense by default, include={left[0]!r} masks it"
    return f"{what}\n{report}"
