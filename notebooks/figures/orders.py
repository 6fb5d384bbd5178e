"""Pictures of ``07_orders``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.style import BLACK, BLUE, GREEN, GREY, KEPT, ORANGE, RESULTS, SKY

# Notebooks run from their own folder.
sys.path.append(str(RESULTS.parents[1]))

from benchmarks.encoder import encoder_matrices
from benchmarks.orders import change, gap_closed

__all__ = ["change", "encoder_matrices", "errors", "gap_closed", "layers", "masks", "sides"]

Row = dict[str, Any]


def sides(rows: Sequence[Row]) -> Figure:
    """What masks keep of one matrix with its columns, its rows, or both put in order."""
    names = ("as it is", "columns", "rows", "both", "one-way", "unstructured")
    colours = (GREY, SKY, GREEN, BLUE, ORANGE, BLACK)
    figure, row_of_axes = plt.subplots(1, len(rows), figsize=(12.5, 3.4))
    for axes, row in zip(row_of_axes, rows, strict=True):
        values = [100 * row[name] for name in names]
        axes.barh(range(len(names)), values, color=colours)
        for place, value in enumerate(values):
            axes.text(value + 0.1, place, f"{value:.1f}", va="center")
        axes.set_yticks(range(len(names)), names if axes is row_of_axes[0] else [""] * len(names))
        axes.invert_yaxis()
        axes.set_xlim(min(values) - 2, max(values) + 2)
        axes.set(title=row["title"], xlabel="kept share of |w| (%)")
    return figure


def masks(scores: NDArray[Any], before: NDArray[Any], after: NDArray[Any]) -> Figure:
    """A corner of a matrix: its weights, and what the mask keeps in both orders."""
    figure, three = plt.subplots(1, 3, figsize=(12.5, 4.3))
    titles = ("|w|", "kept, as it is", "kept, in the new order (shown in the old one)")
    pictures = (np.sqrt(scores), before, after)
    for axes, title, picture in zip(three, titles, pictures, strict=True):
        axes.imshow(picture, cmap="viridis" if title == "|w|" else KEPT, interpolation="nearest")
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def errors(before: dict[str, float], after: dict[str, float]) -> Figure:
    """How much less each kind of layer loses once the model was prepared, block by block."""
    kinds = ("query", "key", "value", "output", "up", "down")
    ends = (
        *("self.query", "self.key", "self.value"),
        *("attention.output.dense", "intermediate.dense", ".output.dense"),
    )
    figure, axes = plt.subplots(figsize=(12.5, 3.6))
    colours = (SKY, GREEN, BLUE, GREY, ORANGE, BLACK)
    for place, (kind, end, colour) in enumerate(zip(kinds, ends, colours, strict=True)):
        names = [name for name in before if name.removesuffix(".weight").endswith(end)]
        if kind == "down":
            names = [name for name in names if "attention" not in name]
        change = [100 * (after[name] / before[name] - 1) for name in names]
        at = np.arange(len(names)) + 0.13 * (place - 2.5)
        axes.bar(at, change, width=0.12, color=colour, label=kind)
    axes.set(xlabel="block", ylabel="change of output error (%)")
    axes.axhline(0, color=BLACK, lw=0.8)
    axes.grid(axis="y")
    axes.legend(ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def layers(report: Any) -> Figure:
    """What each layer's mask keeps before and after, beside what unstructured masks keep."""
    found = report.layers
    at = np.arange(len(found))
    figure, axes = plt.subplots(figsize=(12.5, 4.2))
    before = [100 * layer.kept_before for layer in found]
    after = [100 * layer.kept_after for layer in found]
    best = [100 * layer.kept_unstructured for layer in found]
    axes.vlines(at, before, after, color=BLUE, lw=3)
    axes.plot(at, before, "o", color=GREY, label="as it is")
    axes.plot(at, after, "^", color=BLUE, label="permuted")
    axes.plot(at, best, "_", color=BLACK, ms=9, label="unstructured")
    names = [layer.name.removesuffix(".weight").replace("_blocks.", "") for layer in found]
    axes.set_xticks(at, names, rotation=60, ha="right", fontsize=8)
    axes.set(ylabel="kept share of |w| (%)")
    axes.grid(axis="y")
    axes.legend()
    return figure
