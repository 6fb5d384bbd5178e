"""Pictures of ``02_mask_diversity``."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED

# Colour and marker of each pattern; the same as in the pictures of `nmflow prune --figure`.
STYLES = {
    "unstructured": (GREEN, "s"),
    "rows": (ORANGE, "D"),
    "columns": (BLACK, "v"),
    "transposable": (BLUE, "o"),
}


def counts(bars: dict[str, dict[str, tuple[float, float]]]) -> Figure:
    """log10 of the number of masks, exact and by the formula: a panel for each n:m."""
    figure, row = plt.subplots(1, len(bars), figsize=(12, 3.6), sharex=True)
    for axes, (title, by_pattern) in zip(row, bars.items(), strict=True):
        places = np.arange(len(by_pattern))
        series = zip(("exact", "the paper's formula"), (BLUE, ORANGE), ("", "//"), strict=True)
        for k, (name, colour, hatch) in enumerate(series):
            lengths = [pair[k] for pair in by_pattern.values()]
            style = {"color": colour, "hatch": hatch, "edgecolor": "white", "label": name}
            drawn = axes.barh(places + 0.4 * k - 0.2, lengths, 0.38, **style)
            axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=9)
        axes.set_yticks(places, by_pattern)
        axes.invert_yaxis()
        axes.set(title=title, xlabel="log10 of the number of masks", xlim=(0, 21))
        axes.set_xticks(range(0, 21, 5))
        axes.grid(axis="x")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def errors(paper: dict[str, Any], asymptotic: dict[str, Any]) -> Figure:
    """How far the paper's formula and the asymptotic one are from the exact counts."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4))
    styles = list(zip((GREY, ORANGE, GREEN, BLUE), "xvso", (":", "-.", "--", "-"), strict=True))
    for axes, series in ((left, paper), (right, asymptotic)):
        for (label, (sizes, values)), (colour, marker, line) in zip(
            series.items(), styles, strict=True
        ):
            axes.plot(sizes, values, color=colour, marker=marker, linestyle=line, label=label)
        axes.set(xlabel="m (side of the tile)")
        axes.set_xticks(range(4, 25, 4))
        axes.grid()
    left.axhline(0, color=BLACK, linewidth=1)
    left.set_yscale("symlog", linthresh=1, linscale=0.8)
    left.set_yticks([-1, 0, 1, 10, 100], ["-1", "0 (right)", "1", "10", "100"])
    left.set_ylim(-1.5, 100)
    left.set(ylabel="log10 of formula / exact count", title="the paper's formula")
    right.set(yscale="log", ylabel="|error| (% of the exact count)")
    right.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    right.set(title="asymptotic (Canfield and McKay)")
    left.legend(loc="upper left", title="n")
    right.legend(loc="upper right", title="n", ncols=2)
    return figure


def ladder(sizes: list[int], exact: list[float], paper: list[float], marks: Any) -> Figure:
    """log10 masks per weight of transposable tiles by size, against what does not depend on it."""
    figure, axes = plt.subplots(figsize=(9, 4.6))
    axes.plot(sizes, paper, color=ORANGE, marker="^", linestyle="--", label="the paper's formula")
    axes.plot(sizes, exact, color=BLUE, marker="o", label="exact")
    for (label, level), colour in zip(marks.items(), (RED, GREEN), strict=True):
        axes.axhline(level, color=colour, linewidth=1.3, linestyle=(0, (6, 2)))
        axes.text(sizes[0], level + 0.004, label, color=colour, va="bottom")
    where = sizes.index(8)
    for values, text, offset in (
        (paper, "4:8, the formula: above", (-14, 62)),
        (exact, "4:8, exact: below", (14, -34)),
    ):
        axes.annotate(
            *(text, (8, values[where])),
            xytext=offset,
            textcoords="offset points",
            ha="center" if offset[0] < 0 else "left",
            arrowprops={"arrowstyle": "->", "color": BLACK},
        )
    axes.set(xlabel="m of the transposable tile (n = m/2)", xticks=sizes)
    axes.set(ylabel="log10 of masks, per weight", ylim=(0, 0.36))
    axes.legend(loc="lower right", title="transposable n:m")
    axes.grid()
    return figure


def kept(rows: list[dict[str, Any]]) -> Figure:
    """Kept score of real weights against diversity: a quarter kept, half kept, and a close look."""
    figure, row = plt.subplots(1, 3, figsize=(12.5, 5))
    halves = [x for x in rows if 2 * x["n"] == x["m"]]
    quarters = [x for x in rows if 4 * x["n"] == x["m"]]
    _scatter(row[0], quarters, "a quarter kept")
    _scatter(row[1], halves, "half kept")
    near = [x for x in halves if (x["n"], x["pattern"]) in {(2, "rows"), (2, "columns")}]
    near += [x for x in halves if (x["n"], x["pattern"]) == (4, "transposable")]
    _scatter(row[2], near, "4:8 transposable, 2:4 one-way", formula=True)
    row[0].set_ylabel("kept score (% of the total)")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _scatter(axes: Axes, rows: list[dict[str, Any]], title: str, *, formula: bool = False) -> None:
    # Away from the neighbours. Rows have columns of the same n:m and diversity right above them.
    offsets = {"transposable": (6, -11), "columns": (-6, 6), "unstructured": (-7, 5)}
    for name, (colour, marker) in STYLES.items():
        points = [x for x in rows if x["pattern"] == name]
        # The unstructured pattern is the same for all n:m.
        points = points[:1] if name == "unstructured" else points
        across = [x["log10_per_weight"] for x in points]
        kept = [100 * x["kept"] for x in points]
        axes.plot(across, kept, marker, color=colour, label=name, ms=7)
        for point, *place in zip(points, across, kept, strict=True):
            text = f"{point['n']}:{point['m']}" if name != "unstructured" else "any n:m"
            if formula:
                text += f" {name}"
            elif name == "rows":
                continue
            offset = offsets.get(name, (-6, 6))
            axes.annotate(
                *(text, place),
                xytext=offset,
                textcoords="offset points",
                ha="left" if offset[0] > 0 else "right",
                fontsize=9,
                color=colour if name != "rows" else BLACK,
            )
            if formula and name == "transposable":
                _ghost(axes, point)
    axes.set(title=title, xlabel="log10 of masks, per weight")
    axes.margins(0.14)
    axes.grid()


def _ghost(axes: Axes, point: dict[str, Any]) -> None:
    """Where the paper's formula puts a point."""
    height = 100 * point["kept"]
    axes.plot(point["paper"], height, "o", ms=8, markerfacecolor="white", color=PURPLE)
    arrow = {"arrowstyle": "->", "color": PURPLE, "linestyle": "--", "shrinkA": 8, "shrinkB": 8}
    axes.annotate(
        "", (point["paper"], height), xytext=(point["log10_per_weight"], height), arrowprops=arrow
    )
    axes.annotate(
        *("the paper's formula\nputs 4:8 here", (point["paper"], height)),
        xytext=(6, 12),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
        color=PURPLE,
    )
