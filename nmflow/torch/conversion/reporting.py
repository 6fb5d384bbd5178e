"""The report of a conversion, finished or interrupted."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from nmflow.torch.conversion.driver import Driver
from nmflow.torch.conversion.fitting import Recipe
from nmflow.torch.conversion.preparing import Prepared
from nmflow.torch.conversion.report import ConversionReport, ConvertedLayer
from nmflow.torch.conversion.targets import Target
from nmflow.training.report import Report


def add_report(error: BaseException, report: ConversionReport) -> None:
    """Let an error tell what is converted by then, if anything is."""
    error.report = report  # type: ignore[attr-defined]
    total = len(report.converted) + len(report.left)
    error.add_note(
        f"{len(report.converted)} of {total} weights are converted, the others are as they were;"
        " the report of this error says which"
    )


def report_of(
    recipe: Recipe,
    driver: Driver,
    targets: Sequence[Target],
    selection: Report,
    began: float,
    prepared: Prepared,
    batch_norms: int = 0,
) -> ConversionReport:
    """What became of all weights so far."""
    done = {layer.name for layer in driver.layers}
    left = [
        ConvertedLayer(target.name, tuple(target.parameter.shape), "left", target.pattern)
        for target in targets
        if target.name not in done
    ]
    skipped = [
        ConvertedLayer(layer.name, layer.shape, "skipped", note=layer.note)
        for layer in selection.skipped
    ]
    notes = {layer.name: layer.note for layer in selection.sparsified if layer.note}
    layers = [
        dataclasses.replace(
            layer, note="; ".join(filter(None, [layer.note, notes.get(layer.name, "")]))
        )
        for layer in driver.layers
    ]
    return ConversionReport(
        recipe=str(recipe),
        layers=(*layers, *left, *skipped),
        seconds=time.perf_counter() - began,
        batch_norms=batch_norms,
        orders=prepared.orders,
        rotations=prepared.rotations,
    )
