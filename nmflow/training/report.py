"""Which weights of a model are masked, and why others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from nmflow.problem.pattern import Pattern

Status = Literal["sparsified", "waiting", "skipped"]


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One weight of the model.

    Attributes
    ----------
    name : str
        As in the model's ``named_parameters()`` before it was sparsified.
    shape : tuple of int
        Empty where it has none yet.
    status : {"sparsified", "waiting", "skipped"}
        Waiting: it has a mask that keeps everything, to be solved when its values are there.
    note : str
        Why it was skipped or waits, or what there is to know.
    parameters : int
        Number of its entries; 0 where it has no shape yet.
    pattern : Pattern or None
        Of its mask; None if it was skipped.
    """

    name: str
    shape: tuple[int, ...]
    status: Status
    note: str = ""
    parameters: int = 0
    pattern: Pattern | None = None

    @property
    def sparsified(self) -> bool:
        """Whether its mask is in force."""
        return self.status == "sparsified"


@dataclass(frozen=True, slots=True)
class Report:
    """All weights of a model of two dimensions or more; prints as a line for each.

    Attributes
    ----------
    layers : tuple of LayerReport
    total_parameters : int
        Of the whole model, biases and all.
    """

    layers: tuple[LayerReport, ...]
    total_parameters: int

    @property
    def sparsified(self) -> tuple[LayerReport, ...]:
        """Those whose masks are in force."""
        return tuple(layer for layer in self.layers if layer.sparsified)

    @property
    def waiting(self) -> tuple[LayerReport, ...]:
        """Those whose masks keep everything until their values are there."""
        return tuple(layer for layer in self.layers if layer.status == "waiting")

    @property
    def skipped(self) -> tuple[LayerReport, ...]:
        """The others."""
        return tuple(layer for layer in self.layers if layer.status == "skipped")

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """The different patterns of the masks, in the order of the layers."""
        found = (layer.pattern for layer in self.layers if layer.pattern is not None)
        return tuple(dict.fromkeys(found))

    @property
    def masked_parameters(self) -> int:
        """Entries of the weights whose masks are in force."""
        return sum(layer.parameters for layer in self.sparsified)

    def with_statuses(self, statuses: Mapping[str, tuple[Status, str]]) -> Report:
        """The report with another status and note for some of the layers, by their names."""
        layers = (
            replace(layer, status=statuses[layer.name][0], note=statuses[layer.name][1])
            if layer.name in statuses
            else layer
            for layer in self.layers
        )
        return replace(self, layers=tuple(layers))

    def __str__(self) -> str:
        names = max((len(layer.name) for layer in self.layers), default=0)
        shapes = [" x ".join(map(str, layer.shape)) for layer in self.layers]
        width = max(map(len, shapes), default=0)
        several = len(self.patterns) > 1
        lines = [
            f"  {layer.name:{names}}  {shape:>{width}}  {_verdict(layer, several)}"
            for layer, shape in zip(self.layers, shapes, strict=True)
        ]
        return "\n".join([self._head(), *lines, self._share()])

    def _head(self) -> str:
        patterns = ", ".join(map(str, self.patterns))
        counts = [f"{len(self.sparsified)} sparsified"]
        if self.waiting:
            counts.append(f"{len(self.waiting)} WAITING")
        if self.skipped:
            counts.append(f"{len(self.skipped)} SKIPPED")
        return ": ".join(filter(None, [patterns, ", ".join(counts)]))

    def _share(self) -> str:
        masked, total = self.masked_parameters, self.total_parameters
        share = f" ({100 * masked / total:.0f} %)" if total else ""
        line = f"{_count(masked)} of {_count(total)} parameters are masked{share}"
        if self.waiting:
            waiting = sum(layer.parameters for layer in self.waiting)
            line += f"; {_count(waiting)} wait for their values"
        return line


def _verdict(layer: LayerReport, several: bool) -> str:
    verdict = {"sparsified": "sparsified", "waiting": "WAITING", "skipped": "SKIPPED"}[layer.status]
    if several and layer.pattern is not None:
        verdict += f" {layer.pattern}"
    return f"{verdict}: {layer.note}" if layer.note else verdict


def _count(parameters: int) -> str:
    """``22713216`` -> 22.7 M; small ones to the last."""
    if parameters < 10_000:
        return f"{parameters:,}"
    for unit, name in ((10**9, "B"), (10**6, "M")):
        if parameters >= unit:
            return f"{parameters / unit:.1f} {name}"
    return f"{parameters / 1000:.1f} k"
