"""Which weights of a model are masked, and why others are not."""

from __future__ import annotations

from dataclasses import dataclass

from nmflow.pattern import Pattern


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One weight of the model.

    Attributes
    ----------
    name : str
        As in the model's ``named_parameters()`` before it was sparsified.
    shape : tuple of int
        Empty where it has none yet.
    sparsified : bool
    note : str
        Why it was skipped, or what there is to know.
    """

    name: str
    shape: tuple[int, ...]
    sparsified: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All weights of a model of two dimensions or more; prints as a line for each.

    Attributes
    ----------
    pattern : Pattern
    layers : tuple of LayerReport
    """

    pattern: Pattern
    layers: tuple[LayerReport, ...]

    @property
    def sparsified(self) -> tuple[LayerReport, ...]:
        """The masked ones."""
        return tuple(layer for layer in self.layers if layer.sparsified)

    @property
    def skipped(self) -> tuple[LayerReport, ...]:
        """The others."""
        return tuple(layer for layer in self.layers if not layer.sparsified)

    def with_statuses(self, statuses):
        from dataclasses import replace

        return Report(
            self.pattern,
            tuple(
                replace(l, sparsified=False, note=statuses[l.name][0] + statuses[l.name][1])
                if l.name in statuses
                else l
                for l in self.layers
            ),
        )

    def __str__(self) -> str:
        head = f"{self.pattern}: {len(self.sparsified)} sparsified"
        if self.skipped:
            head += f", {len(self.skipped)} SKIPPED"
        names = max((len(layer.name) for layer in self.layers), default=0)
        shapes = [" x ".join(map(str, layer.shape)) for layer in self.layers]
        width = max(map(len, shapes), default=0)
        lines = [
            f"  {layer.name:{names}}  {shape:>{width}}  {_verdict(layer)}"
            for layer, shape in zip(self.layers, shapes, strict=True)
        ]
        return "\n".join([head, *lines])


def _verdict(layer: LayerReport) -> str:
    verdict = "sparsified" if layer.sparsified else "SKIPPED"
    return f"{verdict}: {layer.note}" if layer.note else verdict
