"""Pictures of ``06_jax``."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.style import BLACK, BLUE, GREEN, ORANGE, SKY, margins, signed

COLOURS = {"dense": BLACK, "8:16 STE": GREEN, "8:16 STE, every step": ORANGE}


def one_tile(
    before: tuple[NDArray[Any], NDArray[np.bool_]], after: tuple[NDArray[Any], NDArray[np.bool_]]
) -> Figure:
    """A tile of a weight at the first and at the last refresh; frames around what is kept."""
    figure, row = plt.subplots(1, 2, figsize=(11, 5))
    reach = max(float(np.abs(weights).max()) for weights, _ in (before, after))
    titles = ("first mask", "last mask")
    for axes, title, (weights, mask) in zip(row, titles, (before, after), strict=True):
        signed(axes, 100 * weights, mask, 100 * reach, fontsize=8)
        counts = ([str(int(count)) for count in mask.sum(axis)] for axis in (1, 0))
        margins(axes, *counts)
        axes.set_title(f"{title}: hundredths, and how many are kept")
    return figure


def ramps(kept: dict[str, list[int]], m: int) -> Figure:
    """What masks keep of every m, step by step, for each schedule."""
    figure, axes = plt.subplots(figsize=(8, 3.4))
    for (name, numbers), (colour, line) in zip(
        kept.items(), ((BLUE, "-"), (ORANGE, "--")), strict=True
    ):
        axes.step(range(len(numbers)), numbers, line, where="post", color=colour, label=name)
    axes.set(xlabel="step", ylabel=f"kept of every {m}", ylim=(0, m + 0.5))
    axes.grid()
    axes.legend()
    return figure


def refreshes(history: list[dict[str, float]]) -> Figure:
    """What each refresh of a run flipped, and what share of the scores its masks keep."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4))
    steps = [each["step"] for each in history]
    left.plot(steps, [100 * each["flip_rate"] for each in history], "o-", color=BLUE, ms=4)
    left.set(xlabel="step of the refresh", ylabel="flipped entries (%)", ylim=(0, None))
    right.plot(steps, [100 * each["kept"] for each in history], "o-", color=GREEN, ms=4)
    right.set(xlabel="step of the refresh", ylabel="kept share of the scores (%)")
    for axes in (left, right):
        axes.grid()
    return figure


def ends(report: dict[str, Any]) -> Figure:
    """Training losses, means of seeds; and where each seed ends."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), width_ratios=(3, 2))
    runs = report["runs"]
    for place, (name, run) in enumerate(runs.items()):
        mean = np.mean(run["losses"], axis=0)
        at = report["setting"]["steps"] * (np.arange(len(mean)) + 0.5) / len(mean)
        left.plot(at, mean, label=name, color=COLOURS[name], linestyle="--" if place else "-")
        right.plot(
            run["values"], [place] * len(run["values"]), "o", mfc="white", color=COLOURS[name]
        )
        right.plot([run["mean"]], [place], "|", color=COLOURS[name], ms=22, mew=2.5)
    dense = runs["dense"]
    right.axvspan(dense["min"], dense["max"], color=SKY, alpha=0.3, label="dense seeds")
    right.set_yticks(range(len(runs)), runs)
    right.set(xlabel="bits per byte held out", ylim=(len(runs) - 0.5, -0.5))
    left.set(xlabel="step", ylabel="training loss (nats)")
    for axes in (left, right):
        axes.grid()
        axes.legend()
    return figure
