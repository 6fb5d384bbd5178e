"""Pictures of ``04_training``."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

Task = dict[str, Any]

# Colour and marker of each kind of run.
STYLES = {
    "dense": (BLACK, "s"),
    "2:4": (ORANGE, "^"),
    "4:8": (BLUE, "o"),
    "8:16": (GREEN, "D"),
    "2:4 one-way": (PURPLE, "v"),
    "4:8 one-way": (PURPLE, ">"),
    "fixed": (GREY, "P"),
    "greedy-keep": (RED, "X"),
}
BAND = SKY
PERCENT = FuncFormatter(lambda value, _: f"{value:g}")


def kind(name: str) -> str:
    """What a run is drawn as."""
    special = next((key for key in ("fixed", "greedy-keep") if key in name), None)
    return name if name in STYLES else special or name.split(maxsplit=1)[0]


def ends(tasks: dict[str, Task]) -> Figure:
    """Where each run ends: seeds, their mean, and the band of the dense seeds."""
    figure, row = plt.subplots(1, len(tasks), figsize=(12.5, 5.4), sharey=True)
    for axes, task in zip(row, tasks.values(), strict=True):
        _band(axes.axvspan, task)
        for place, (name, run) in enumerate(task["runs"].items()):
            colour, marker = STYLES[kind(name)]
            seeds = _shown(task, run["values"])
            axes.plot(seeds, [place] * len(seeds), marker, color=colour, mfc="white", ms=6)
            mean = _shown(task, [run["mean"]])
            axes.plot(mean, [place], "|", color=colour, ms=22, mew=2.5)
        axes.set_yticks(range(len(task["runs"])), task["runs"])
        axes.set(title=task["title"], xlabel=_label(task))
        axes.grid()
    row[0].invert_yaxis()
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside upper center")
    return figure


def curves(tasks: dict[str, Task], names: list[str]) -> Figure:
    """Training loss, and how far it is above the dense run's; means of the seeds."""
    figure, grid = plt.subplots(2, len(tasks), figsize=(12.5, 7), sharex=True)
    for (upper, lower), task in zip(grid.T, tasks.values(), strict=True):
        dense = np.mean(task["runs"]["dense"]["losses"], axis=0)
        at = 100 * (np.arange(len(dense)) + 0.5) / len(dense)
        for name in names:
            mean = np.mean(task["runs"][name]["losses"], axis=0)
            style = _line(name)
            upper.plot(at, mean, label=name, **style)
            if name != "dense":
                lower.plot(at, mean - dense, **style)
        lower.axhline(0, color=BLACK, linewidth=1)
        upper.set(title=task["title"], yscale="log", ylabel="training loss (nats)")
        upper.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        upper.yaxis.set_major_formatter(PERCENT)
        upper.yaxis.set_minor_formatter(NullFormatter())
        lower.set(xlabel="share of the steps (%)", ylabel="above dense (nats)")
        for axes in (upper, lower):
            axes.grid()
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def flips(tasks: dict[str, Task], names: list[str]) -> Figure:
    """Flip rate and sparse architecture divergence of each refresh, the first seed's."""
    figure, grid = plt.subplots(2, len(tasks), figsize=(12.5, 6.6), sharex="col")
    for (upper, lower), task in zip(grid.T, tasks.values(), strict=True):
        for name in names:
            # The first mask is compared with no mask at all.
            history = task["runs"][name]["history"][1:]
            at = [each["step"] for each in history]
            style = _line(name)
            upper.plot(at, [100 * each["flip_rate"] for each in history], label=name, **style)
            lower.plot(at, [each["sad"] for each in history], **style)
        upper.set(title=task["title"], ylabel="flipped entries (%)")
        lower.set(xlabel="step of the refresh", ylabel="SAD (entries a layer)")
        upper.set_yscale("symlog", linthresh=0.01, linscale=0.4)
        lower.set_yscale("symlog", linthresh=1, linscale=0.4)
        upper.yaxis.set_major_formatter(PERCENT)
        lower.yaxis.set_major_formatter(PERCENT)
        for axes in (upper, lower):
            axes.set_ylim(bottom=0)
            axes.grid()
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return figure


def costs(tasks: dict[str, Task]) -> Figure:
    """Share of the training time that masks take, and a step's time beside a dense step's."""
    figure, row = plt.subplots(1, 2, figsize=(12.5, 4.2))
    labels, shares, ratios = [], [], []
    for name, task in tasks.items():
        for each in task["timing"]:
            if each["every"]:
                labels.append((f"{name}\n{each['pattern']}", each["every"]))
                shares.append(100 * each["mask_share"])
                ratios.append(each["times_dense"])
    names = list(dict.fromkeys(label for label, _ in labels))
    for k, (every, colour, hatch) in enumerate(((40, BLUE, ""), (1, ORANGE, "//"))):
        chosen = [i for i, (_, when) in enumerate(labels) if when == every]
        places = np.arange(len(names)) + 0.4 * k - 0.2
        when = "every step" if every == 1 else f"every {every} steps"
        style = {"color": colour, "hatch": hatch, "edgecolor": "white", "label": when}
        for axes, values, form in ((row[0], shares, "%.2g"), (row[1], ratios, "%.2f")):
            bars = axes.bar(places, [values[i] for i in chosen], 0.38, **style)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            axes.bar_label(bars, fmt=form, padding=2, fontsize=9, bbox=box)
    for level, line in ((1, ":"), (20, "--")):
        axes = row[0]
        axes.axhline(level, color=BLACK, linestyle=line, linewidth=1)
        axes.text(len(names) - 0.05, level, f"{level} %", va="bottom", ha="right", fontsize=9)
        axes.set_xlim(-0.6, len(names))
    row[0].set(yscale="log", ylabel="masks' share of the time (%)", title="finding masks")
    row[0].yaxis.set_major_formatter(PERCENT)
    row[0].margins(y=0.15)
    row[1].axhline(1, color=BLACK, linewidth=1)
    row[1].set(ylabel="time of a step (dense = 1)", title="all that masks add to a step")
    for axes in row:
        axes.set_xticks(range(len(names)), names)
        axes.grid(axis="y")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def diversity(tasks: dict[str, Task], names: list[str]) -> Figure:
    """Where runs end against how many masks their pattern allows."""
    figure, row = plt.subplots(1, len(tasks), figsize=(12.5, 4.6))
    for axes, task in zip(row, tasks.values(), strict=True):
        _band(axes.axhspan, task)
        for name in names:
            run = task["runs"][name]
            colour, marker = STYLES[kind(name)]
            across = run["log10_masks_per_weight"]
            (mean,), (low,), (high,) = (_shown(task, [run[k]]) for k in ("mean", "min", "max"))
            hollow = "white" if "every step" in name else colour
            axes.vlines(across, low, high, color=colour, linewidth=1.3)
            axes.plot(across, mean, marker, color=colour, mfc=hollow, ms=8, label=name)
        axes.set(title=task["title"], xlabel="log10 of masks, per weight", ylabel=_label(task))
        axes.grid()
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5)
    return figure


def _line(name: str) -> dict[str, Any]:
    """The look of a run's curve: SR-STE is dashed and hollow."""
    colour, marker = STYLES[kind(name)]
    dashed = "SR-STE" in name
    return {
        "color": colour,
        "marker": marker,
        "linestyle": "--" if dashed else "-",
        "markerfacecolor": "white" if dashed else colour,
        "markevery": 5,
        "markersize": 5,
        "linewidth": 1.4,
    }


def _band(span: Any, task: Task) -> None:
    dense = task["runs"]["dense"]
    low, high = _shown(task, [dense["min"], dense["max"]])
    span(low, high, color=BAND, alpha=0.35, hatch="//", linewidth=0, label="all dense seeds")


def _shown(task: Task, values: list[float]) -> list[float]:
    return [100 * value if task["higher"] else value for value in values]


def _label(task: Task) -> str:
    direction = "more" if task["higher"] else "less"
    return f"{task['unit']} ({direction} is better)"


def quantity(task: Task, value: float) -> str:
    """A value of the task's metric as text."""
    return f"{100 * value:.2f}" if task["higher"] else f"{value:.4f}"


def runs_table(task: Task) -> str:
    """All runs as text: mean and spread of the seeds, distance to dense, certificates."""
    heads = ("mean", "spread", "seeds", "- dense", "within", "kept", "gap")
    widths = (9, 9, 7, 9, 8, 7, 9)
    lines = [f"{task['title']}: {task['unit']}"]
    lines.append(" " * 24 + "".join(f"{h:>{w}}" for h, w in zip(heads, widths, strict=True)))
    for name, run in task["runs"].items():
        line = f"{name:24}{quantity(task, run['mean']):>9}{quantity(task, run['deviation']):>9}"
        line += f"{len(run['values']):7}{quantity(task, run['beyond_dense']):>9}"
        line += f"{'yes' if run['within_dense'] else 'no':>8}"
        if run["m"]:
            gap = max(each["largest_gap"] for each in run["certificates"])
            line += f"{100 * np.mean(run['kept']):5.1f} %{gap:9.2g}"
        lines.append(line)
    return "\n".join(lines)
