"""Which weights of a model are to be masked, and why others are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from nmflow.errors import NmflowError
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.torch.masking.masked import Masked
from nmflow.torch.masking.sharding import is_sharded
from nmflow.torch.selecting.layout import Layouts, own_forward
from nmflow.torch.selecting.sites import Site, sites_of
from nmflow.torch.selecting.table import Table
from nmflow.torch.selecting.wanted import Wanted, chooser, pattern_chooser
from nmflow.training.report import LayerReport, Report
from nmflow.training.sizes import note_on_edges, too_small
from nmflow.units.unit import ENTRY, Unit

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter to be masked, with all its places: more than one if it is shared.

    Attributes
    ----------
    name : str
    sites : tuple of Site
    layout : Layout
    pattern : Pattern
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
    model: Any,
    patterns: Pattern | Mapping[str, Pattern],
    include: Wanted = None,
    exclude: Wanted = None,
    layouts: Layouts = None,
    unit: Unit = ENTRY,
) -> tuple[list[Weight], Report]:
    """The weights to mask, and the report on all.

    Parameters
    ----------
    model : Module
    patterns : Pattern or mapping of str to Pattern
        One for all, or by globs over the names of modules or parameters: the first that matches.
    include, exclude : Wanted
        Globs over the names of modules or parameters, classes of modules, functions of
        (name, module), or several of these. What is included is masked whatever its name says.
    layouts : mapping, optional
        How weights of other classes are matrices; see
        :func:`nmflow.torch.selecting.layout.as_layouts`.
    unit : (int, int)
        What is kept or dropped whole: matrices must be large enough for m of them.

    Raises
    ------
    NmflowError
        If a glob or class matches nothing, a chosen weight is masked already or sharded, or none
        is left.
    """
    everything = list(sites_of(model))
    table = Table(model, everything, layouts)
    groups = _groups(everything, table)
    sites = [site for group in groups for site in group]
    included = chooser("include", include, sites, table.fault)
    excluded = chooser("exclude", exclude, sites)
    pattern_of = pattern_chooser(patterns, sites)
    weights, lines, left = [], [], []
    for group in groups:
        site, pattern = table.chief(group), pattern_of(group)
        if any(map(excluded, group)):
            reason: str | None = "excluded"
        elif include is not None and not any(map(included, group)):
            reason = "not included"
        else:
            reason = _fault(site, table, pattern, unit)
            if include is None and (role := table.role(group)):
                left += [site.name] if reason is None else []
                reason = f"{role} (dense unless included)" if reason is None else role
        layout = table.layout(site)
        if reason is None and pattern is not None and isinstance(layout, Layout):
            weight = Weight(site.name, tuple(group), layout, pattern)
            weights.append(weight)
            lines.append(_chosen(weight, site, unit))
        else:
            lines.append(_skipped(site, reason or ""))
    report = Report(tuple(lines), _size(model.parameters()))
    if not weights:
        raise NmflowError(_nothing(model, report, left))
    return weights, report


def _groups(sites: Sequence[Site], table: Table) -> list[list[Site]]:
    """The sites of each parameter of two dimensions or more, in the order of the model."""
    groups: dict[int, list[Site]] = {}
    for site in sites:
        if len(site.shape) >= 2 or (is_lazy(site.parameter) and table.fault(site) is None):
            groups.setdefault(id(site.parameter), []).append(site)
    return list(groups.values())


def _fault(site: Site, table: Table, pattern: Pattern | None, unit: Unit) -> str | None:
    """Why a weight can't be masked; None if it can."""
    if any(isinstance(step, Masked) for step in site.parametrizations):
        raise NmflowError(
            f"{site.name} is sparsified already: remove() or bake() its masks first,"
            " or leave it out with exclude"
        )
    layout = table.layout(site)
    if isinstance(layout, str):
        return layout
    if pattern is None:
        return "no pattern is given for it"
    return _fault_of_values(site, table) or too_small(layout, site.shape, pattern, unit)


def _fault_of_values(site: Site, table: Table) -> str | None:
    parameter = site.parameter
    if site.parametrizations:
        return f"has a parametrization of its own, {type(site.parametrizations[0]).__name__}"
    if is_lazy(parameter):
        return "has no shape yet: run a forward pass first"
    if is_sharded(parameter):
        raise NmflowError(f"{site.name} is sharded already: sparsify before fully_shard")
    if parameter.dtype not in _DTYPES:
        return f"of dtype {parameter.dtype}: float16, bfloat16, float32 and float64 can be masked"
    if table.is_offloaded(site):
        return (
            "offloaded: its values are not here between forward passes; sparsify before"
            " dispatching, or keep this layer in memory"
        )
    return None


def _chosen(weight: Weight, chief: Site, unit: Unit) -> LayerReport:
    """The line of a weight that is masked."""
    pattern, notes = weight.pattern, []
    others = [site.name for site in weight.sites if site is not chief]
    if others:
        notes.append(f"shared with {', '.join(others)}")
    if edges := note_on_edges(weight.layout, chief.shape, pattern, unit):
        notes.append(edges)
    if kind := own_forward(chief.module):
        notes.append(
            f"computes in a forward of its own ({kind}): check that it multiplies by its weight"
            " as it is"
        )
    return LayerReport(
        name=chief.name,
        shape=chief.shape,
        status="sparsified",
        note="; ".join(notes),
        parameters=_size([chief.parameter]),
        pattern=pattern,
    )


def _skipped(site: Site, reason: str) -> LayerReport:
    return LayerReport(site.name, site.shape, "skipped", reason, _size([site.parameter]))


def _size(parameters: Iterable[Any]) -> int:
    return sum(each.numel() for each in parameters if not is_lazy(each))


def _nothing(model: Any, report: Report, left: Sequence[str]) -> str:
    what = f"nothing to sparsify in this {type(model).__name__}"
    if left:
        what += f": {left[0]} is dense by default, include={left[0]!r} masks it"
    return f"{what}\n{report}"
