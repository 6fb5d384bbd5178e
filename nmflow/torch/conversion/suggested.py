"""n for each weight, from the zeros that it has already."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nmflow.diversity.fit import suggest_n
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.torch.selecting.select import Weight
from nmflow.training.report import LayerReport, Report


def with_suggested_n(
    weights: Sequence[Weight], selection: Report, confidence: float
) -> tuple[list[Weight], Report]:
    """The weights with the n that their zeros call for; the report without those that stay dense.

    Parameters
    ----------
    weights : sequence of Weight
        Their patterns say m and what is tiled.
    selection : Report
    confidence : float
        That a tile fits, for :func:`nmflow.suggest_n`.

    Raises
    ------
    NmflowError
        If the pattern has no groups, or no weight has zeros enough.
    """
    found: list[Weight] = []
    dense: dict[str, float] = {}
    for weight in weights:
        pattern = weight.pattern
        if pattern.name == "unstructured":
            raise NmflowError(f"n is missing: zeros suggest none for {pattern}")
        sparsity = float((weight.parameter.detach() == 0).double().mean())
        n = suggest_n(pattern.m, sparsity, confidence, pattern=pattern.name)
        if n < pattern.m:
            found.append(dataclasses.replace(weight, pattern=Pattern(n, pattern.m, pattern.name)))
        else:
            dense[weight.name] = sparsity
    if not found:
        most = max(dense.values())
        raise NmflowError(
            f"n is missing, and no weight has zeros enough to suggest one: at most"
            f" {100 * most:.0f} % of a weight are 0. Give n, or a lower confidence"
        )
    layers = tuple(_line(layer, dense) for layer in selection.layers)
    return found, dataclasses.replace(selection, layers=layers)


def _line(layer: LayerReport, dense: dict[str, float]) -> LayerReport:
    if layer.name not in dense:
        return layer
    note = f"{100 * dense[layer.name]:.0f} % of it are 0, too few for any n below m"
    return dataclasses.replace(layer, status="skipped", note=note, pattern=None)


def pattern_of_m(m: int | None, pattern: PatternName) -> Pattern:
    """A pattern that says m alone, until n is suggested."""
    if m is None:
        raise NmflowError("m is missing: convert(model, data, None, 16) chooses n for m = 16")
    return Pattern(1, m, pattern)
