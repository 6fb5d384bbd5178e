"""Which weights of a model are to be masked, and why others are not."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations

from nmflow.errors import NmflowError
from nmflow.pattern import Pattern
from nmflow.torch.layout import Layout, layouts_of
from nmflow.torch.masked import Masked
from nmflow.torch.report import LayerReport, Report
from nmflow.torch.sharding import is_sharded

# Globs over module names, or a function of (name, module).
Wanted = str | Iterable[str] | Callable[[str, Any], bool] | None

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the model where a parameter stands.

    Attributes
    ----------
    module_name : str
    module : Module
    tensor : str
        The parameter's name in the module.
    parameter : Parameter
    """

    module_name: str
    module: Any
    tensor: str
    parameter: Any

    @property
    def name(self) -> str:
        """The parameter's name in the model."""
        return f"{self.module_name}.{self.tensor}".lstrip(".")

    @property
    def layout(self) -> Layout | None:
        """How the parameter is masked, where it can be."""
        return layouts_of(self.module).get(self.tensor)

    @property
    def parametrizations(self) -> tuple[Any, ...]:
        """What the parameter goes through already."""
        lists = getattr(self.module, "parametrizations", {})
        return tuple(lists[self.tensor]) if self.tensor in lists else ()


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter to be masked, with all its places: more than one if it is shared.

    Attributes
    ----------
    name : str
    sites : tuple of Site
    layout : Layout
    """

    name: str
    sites: tuple[Site, ...]
    layout: Layout
    pattern: Pattern

    @property
    def parameter(self) -> Any:
        """The dense weight."""
        return self.sites[0].parameter


def choose_weights(
    model: Any, pattern: Pattern, include: Wanted, exclude: Wanted, layouts=None
) -> tuple[list[Weight], Report]:
    """The weights to mask, and the report on all.

    Raises
    ------
    NmflowError
        If a glob matches nothing, a chosen weight is masked already or sharded, or none is left.
    """
    groups = _sites_by_parameter(model)
    sites = [site for group in groups for site in group]
    included = _chooser("include", include, [site for site in sites if site.layout])
    excluded = _chooser("exclude", exclude, sites)
    weights, lines = [], []
    for group in groups:
        site = next((site for site in group if site.layout), group[0])
        if any(map(excluded, group)):
            reason: str | None = "excluded"
        elif include is not None and not any(map(included, group)):
            reason = "not included"
        else:
            reason = _reason(site, pattern)
        note = reason or _note(group, site, pattern)
        shape = () if is_lazy(site.parameter) else tuple(site.parameter.shape)
        lines.append(LayerReport(site.name, shape, reason is None, note))
        if reason is None and site.layout:
            weights.append(Weight(site.name, tuple(group), site.layout, pattern))
    report = Report(pattern, tuple(lines))
    if not weights:
        raise NmflowError(f"nothing to sparsify in this {type(model).__name__}\n{report}")
    return weights, report


def _sites_by_parameter(model: Any) -> list[list[Site]]:
    """The sites of each parameter of two dimensions or more, in the order of the model."""
    groups: dict[int, list[Site]] = {}
    for name, module in model.named_modules():
        if isinstance(module, ParametrizationList):
            continue
        own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
        for tensor, originals in getattr(module, "parametrizations", {}).items():
            # Such as weight_norm's have two, the matrix last.
            own[tensor] = list(originals.parameters(recurse=False))[-1]
        for tensor, parameter in own.items():
            site = Site(name, module, tensor, parameter)
            if site.layout or (not is_lazy(parameter) and parameter.ndim >= 2):
                groups.setdefault(id(parameter), []).append(site)
    return list(groups.values())


def _chooser(option: str, wanted: Wanted, sites: Sequence[Site]) -> Callable[[Site], bool]:
    """Whether a site is meant; the sites are those that each glob must match one of."""
    if callable(wanted):
        return lambda site: bool(wanted(site.module_name, site.module))
    globs = [wanted] if isinstance(wanted, str) else list(wanted or ())
    names = [site.module_name for site in sites]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            near = difflib.get_close_matches(glob, names, 3, 0) or ["none"]
            raise NmflowError(
                f"{option} pattern {glob!r} matches no module with a weight to mask;"
                f" the nearest are {', '.join(map(repr, near))}"
            )
    return lambda site: any(fnmatchcase(site.module_name, glob) for glob in globs)


def _reason(site: Site, pattern: Pattern) -> str | None:
    """Why a weight can't be masked; None if it can."""
    kind = type_before_parametrizations(site.module).__name__
    parameter, layout = site.parameter, site.layout
    if any(isinstance(step, Masked) for step in site.parametrizations):
        raise NmflowError(
            f"{site.name} is sparsified already: remove() or bake() its masks first,"
            " or leave it out with exclude"
        )
    if layout is None:
        return f"no matrix of a linear, convolution or attention layer ({kind})"
    if site.parametrizations:
        return f"has a parametrization of its own, {type(site.parametrizations[0]).__name__}"
    if is_lazy(parameter):
        return "has no shape yet: run a forward pass first"
    if is_sharded(parameter):
        raise NmflowError(f"{site.name} is sharded already: sparsify before fully_shard")
    if parameter.dtype not in _DTYPES:
        return f"of dtype {parameter.dtype}: float16, bfloat16, float32 and float64 can be masked"
    return _too_small(layout, tuple(parameter.shape), pattern)


def _too_small(layout: Layout, shape: tuple[int, ...], pattern: Pattern) -> str | None:
    rows, columns = layout.matrix_size(shape)
    needs_rows = pattern.name in ("transposable", "columns")
    needs_columns = pattern.name in ("transposable", "rows")
    if (needs_rows and rows < pattern.m) or (needs_columns and columns < pattern.m):
        return f"matrices of {rows} x {columns} are too small for m = {pattern.m}"
    return None


def _note(group: Sequence[Site], chosen: Site, pattern: Pattern) -> str:
    """What there is to know about a weight that is masked."""
    notes = []
    others = [site.name for site in group if site is not chosen]
    if others:
        notes.append(f"shared with {', '.join(others)}")
    assert chosen.layout is not None
    rows, columns = chosen.layout.matrix_size(tuple(chosen.parameter.shape))
    cut = pattern.name != "unstructured" and (rows % pattern.m or columns % pattern.m)
    if cut:
        notes.append(f"groups at the edges of {rows} x {columns} keep at most {pattern.n}")
    return "; ".join(notes)
