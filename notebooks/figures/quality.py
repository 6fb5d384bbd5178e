"""Pictures of ``01_solver_quality``."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, table

# Colour, marker, hatch and line of each method.
STYLES = {
    "flow": (RED, "*", "", "-"),
    "network-simplex": (BLUE, "o", "", "-"),
    "lp": (BLACK, "s", "", "-"),
    "exhaustive": (GREY, "^", "", "-"),
    "greedy": (ORANGE, "v", "//", ":"),
    "greedy-keep": (PURPLE, "P", "..", "--"),
    "local-search": (GREEN, "D", "xx", "-."),
    "entropic": (SKY, "X", "", "-"),
}
APPROXIMATE = ("greedy", "greedy-keep", "local-search", "entropic")
PERCENT = FuncFormatter(lambda value, _: f"{value:g}")


def distributions(report: dict[str, Any]) -> Figure:
    """Share of tiles that lose more than so much: a row for each kind of weights."""
    results, share = report["results"], 100 - np.array(report["percentiles"])
    patterns = list(next(iter(results.values())))
    figure, grid = plt.subplots(len(results), len(patterns), figsize=(12, 8), sharex=True)
    for row, (kind, by_pattern) in zip(grid, results.items(), strict=True):
        for axes, pattern in zip(row, patterns, strict=True):
            for name in APPROXIMATE:
                colour, marker, _, line = STYLES[name]
                loss = 100 * np.array(by_pattern[pattern][name]["percentiles"])
                loss[0] = 0  # all tiles lose at least nothing: the curve begins at the edge
                axes.plot(
                    *(np.maximum(loss, 1e-4), share),
                    color=colour,
                    linestyle=line,
                    marker=marker,
                    markevery=(10, 20),
                    label=name,
                )
            axes.set(xscale="log", xlim=(1e-3, 60), ylim=(-3, 103))
            axes.xaxis.set_major_formatter(PERCENT)
            axes.grid()
            axes.set_title(f"{kind}, {pattern}")
    for axes in grid[-1]:
        axes.set_xlabel("loss x (% of the optimum)")
    for axes in grid[:, 0]:
        axes.set_ylabel("tiles that lose\nmore than x (%)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def summary(by_pattern: dict[str, Any]) -> Figure:
    """Mean and worst loss, share of optimal tiles, share of tiles not full."""
    figure, (losses, optimal, not_full) = plt.subplots(1, 3, figsize=(12, 3.9))
    places = np.arange(len(by_pattern))
    for k, name in enumerate(APPROXIMATE):
        colour, marker, hatch, line = STYLES[name]
        rows = [rows[name] for rows in by_pattern.values()]
        shift = 0.2 * (k - 1.5)
        mean, worst = (
            np.array([100 * row[key] for row in rows]) for key in ("mean_loss", "worst_loss")
        )
        losses.vlines(places + shift, mean, worst, color=colour, linestyle=line)
        losses.plot(places + shift, mean, marker, color=colour, label=name)
        losses.plot(places + shift, worst, marker, color=colour, markerfacecolor="white")
        for axes, key in ((optimal, "optimal"), (not_full, "not_full")):
            heights = [100 * row[key] for row in rows]
            style = {"color": colour, "hatch": hatch, "edgecolor": "white", "label": name}
            bars = axes.bar(places + shift, heights, 0.18, **style)
            labels = [f"{x:.0f}" if x >= 1 or x == 0 else "<1" for x in heights]
            axes.bar_label(bars, labels, fontsize=7.5, padding=1)
    losses.set(yscale="log", ylabel="loss (% of the optimum)", ylim=(7e-4, 80))
    losses.yaxis.set_major_formatter(PERCENT)
    losses.set_title("loss: mean (filled) and worst tile (hollow)")
    optimal.set(ylabel="tiles (%)", title="optimal tiles: more is better", ylim=(0, 108))
    not_full.set(ylabel="tiles (%)", title="tiles not full: fewer is better", ylim=(0, 108))
    for axes in (losses, optimal, not_full):
        axes.set_xticks(places, by_pattern)
        axes.set_xlabel("n:m")
        axes.grid(axis="y")
    figure.legend(*optimal.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def pareto(by_pattern: dict[str, Any]) -> Figure:
    """Time against mean loss: down and to the left is better, and the lowest line is optimal."""
    figure, row = plt.subplots(1, len(by_pattern), figsize=(12, 4.6), sharey=True)
    for axes, (pattern, rows) in zip(row, by_pattern.items(), strict=True):
        for name, found in rows.items():
            colour, marker, _, _ = STYLES[name]
            face = "white" if found["not_full"] else colour
            size = 16 if name == "flow" else 9
            axes.plot(
                *(found["microseconds"], 100 * found["mean_loss"]),
                marker=marker,
                color=colour,
                markerfacecolor=face,
                markersize=size,
                markeredgewidth=1.8 if found["not_full"] else 0.8,
                clip_on=False,
                zorder=3,
            )
        axes.axhspan(-2e-4, 2e-4, color="#EAF3F8", zorder=0)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=1e-3, linscale=0.6)
        axes.set(title=pattern, xlabel="time (µs per tile, one core)", ylim=(-2e-4, 30))
        axes.set_yticks([0, 1e-3, 1e-2, 0.1, 1, 10], ["0", "0.001", "0.01", "0.1", "1", "10"])
        axes.margins(x=0.12)
        axes.grid()
    row[0].set_ylabel("mean loss (% of the optimum)")
    handles = [_handle(name) for name in STYLES]
    hollow = Line2D([], [], marker="o", color=GREY, markerfacecolor="white", linestyle="none")
    hollow.set_label("hollow: mask not full")
    figure.legend(handles=[*handles, hollow], loc="outside upper center", ncols=5)
    return figure


def _handle(name: str) -> Line2D:
    colour, marker, _, _ = STYLES[name]
    face = "white" if name.startswith("greedy") else colour
    size = 13 if name == "flow" else 8
    handle = Line2D([], [], marker=marker, color=colour, markerfacecolor=face, markersize=size)
    handle.set(linestyle="none", label=name)
    return handle


def worst_tile(
    tile: NDArray[Any], ours: NDArray[np.bool_], theirs: NDArray[np.bool_], ratios: dict[str, Any]
) -> Figure:
    """What ``greedy`` and an optimum prune of the worst tile; the ratio on the way there."""
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(12, 4.2), width_ratios=(1, 1, 1.25), layout="constrained"
    )
    for axes, mask, name in ((left, theirs, "greedy"), (middle, ours, "the optimum")):
        # Three tones, or 0.99 and 1 would look the same.
        shades = np.unique(tile, return_inverse=True)[1].reshape(tile.shape)
        style = {"form": "{:.3g}", "limits": (0, 3.2), "fontsize": 7.5}
        table(axes, tile, marked=~mask, shades=shades, **style)
        pruned = tile[~mask].sum()
        axes.set_title(f"{name} prunes {np.sum(~mask)} entries\n(framed), together {pruned:.2f}")
    lines = zip(ratios.items(), (ORANGE, BLUE, GREEN), "vos", ("-", "--", "-."), strict=True)
    for (label, (share, ratio)), colour, marker, line in lines:
        right.plot(share, ratio, color=colour, marker=marker, linestyle=line, label=label)
    right.axhline(2, color=BLACK, linewidth=1.2)
    right.text(0.02, 1.985, "proved bound: 2", va="top")
    right.set(xlabel="share of the worst tile in a blend with |N(0, 1)|")
    right.set(ylabel="pruned score, greedy / optimum", ylim=(1, 2.05))
    right.legend(loc="lower right")
    right.grid()
    return figure


def column_groups(held: dict[str, NDArray[Any]], n: int, m: int) -> Figure:
    """How many entries each column group of W holds, for each mask; and the histogram."""
    figure = plt.figure(figsize=(12, 5), layout="constrained")
    grid = figure.add_gridspec(len(held), 2, width_ratios=(1.9, 1))
    # Too few, right, too many: a light, a middle and a dark tone, printed grey too.
    colours = ListedColormap(["#F6E3B4", SKY, RED])
    histogram = figure.add_subplot(grid[:, 1])
    styles = zip(held.items(), (RED, SKY), ("//", ""), (-0.21, 0.21), strict=True)
    for k, ((name, counts), colour, hatch, shift) in enumerate(styles):
        axes: Axes = figure.add_subplot(grid[k, 0])
        axes.pcolormesh(
            np.sign(counts - n), cmap=colours, vmin=-1, vmax=1, edgecolors="white", linewidth=0.6
        )
        axes.invert_yaxis()
        for (i, j), count in np.ndenumerate(counts):
            style = {"ha": "center", "va": "center", "fontsize": 6}
            axes.text(j + 0.5, i + 0.5, str(count), **style)
        broken = 100 * (counts > n).mean()
        axes.set_title(f"{name}: {broken:.0f} % of the column groups hold more than {n}")
        axes.set(xlabel="column of W", ylabel=f"group of {m} rows")
        axes.spines[:].set_visible(False)
        shares = 100 * np.bincount(counts.ravel(), minlength=m + 1) / counts.size
        histogram.bar(
            *(np.arange(m + 1) + shift, shares, 0.4),
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=name,
        )
    histogram.set(xlabel=f"entries kept in a group of {m} (allowed: {n})")
    histogram.set(ylabel="column groups (%)", xticks=range(m + 1))
    histogram.legend(loc="upper right", fontsize=9)
    labels = (f"fewer than {n}", f"{n}", f"more than {n}: broken")
    patches = [Patch(color=x, label=y) for x, y in zip(colours.colors, labels, strict=True)]
    figure.legend(handles=patches, loc="outside upper left", ncols=3)
    histogram.grid(axis="y")
    return figure
