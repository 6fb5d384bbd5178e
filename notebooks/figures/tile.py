"""Pictures of ``03_one_tile``."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.style import BLACK, BLUE, GREEN, KEPT, ORANGE, RED, bare, margins, signed, table

Array = NDArray[Any]


def choices(scores: Array, masks: dict[str, NDArray[np.bool_]], n: int) -> Figure:
    """The tile, and masks of it, with what their rows and columns hold."""
    figure, row = plt.subplots(1, len(masks), figsize=(3.3 * len(masks), 3.6))
    figure.get_layout_engine().set(w_pad=0.15)
    for axes, (name, mask) in zip(row, masks.items(), strict=True):
        table(axes, scores, marked=mask)
        if mask.any():
            holding(axes, mask, n)
            axes.set_title(f"{name}\nkept score {scores[mask].sum():.0f}")
        else:
            axes.set_title(f"{name}\n")
    return figure


def holding(axes: Axes, mask: NDArray[np.bool_], n: int) -> None:
    """How many entries each row and column keeps; red where it is not n."""
    rows, columns = mask.sum(axis=1), mask.sum(axis=0)
    wrong = {("row", i) for i in np.flatnonzero(rows != n)}
    wrong |= {("column", j) for j in np.flatnonzero(columns != n)}
    right = [f"{x}" + ("" if x == n else "!") for x in rows]
    below = [f"{x}" + ("" if x == n else "!") for x in columns]
    margins(axes, right, below, wrong)


def network(scores: Array, mask: NDArray[np.bool_], n: int) -> Figure:
    """Source, rows, columns, sink; the arcs that carry flow are thick."""
    m = len(scores)
    figure, axes = plt.subplots(figsize=(11, 5.4))
    rows = [(3.0, 2.0 * (m - 1 - i)) for i in range(m)]
    columns = [(9.0, 2.0 * (m - 1 - j)) for j in range(m)]
    source, sink = (0.0, float(m - 1)), (12.0, float(m - 1))
    for i in range(m):
        _arc(axes, source, rows[i], True, f"{n} of {n}", 0.6)
        _arc(axes, columns[i], sink, True, f"{n} of {n}", 0.4)
        for j in range(m):
            # There the arcs of all rows are equally far apart, and so are their labels.
            place = 1 / (m + 1)
            _arc(axes, rows[i], columns[j], bool(mask[i, j]), f"{scores[i, j]:.0f}", place)
    names = [*(f"row {i}" for i in range(m)), *(f"col {j}" for j in range(m)), "source", "sink"]
    for (x, y), name in zip([*rows, *columns, source, sink], names, strict=True):
        style = {"boxstyle": "circle,pad=0.3", "facecolor": "white", "edgecolor": BLACK}
        axes.text(x, y, name, ha="center", va="center", fontsize=9, bbox=style, zorder=5)
    axes.plot([], [], color=BLUE, linewidth=2.6, label="carries a unit: the entry is kept")
    axes.plot([], [], color="#C4C4C4", linestyle="--", label="carries none: pruned")
    figure.legend(loc="outside lower center", ncols=2)
    axes.set_xlim(-0.8, 12.8)
    axes.set_ylim(-0.9, 2 * m - 1.1)
    axes.set_axis_off()
    return figure


def _arc(axes: Axes, begin: Any, end: Any, used: bool, label: str, place: float) -> None:
    (x0, y0), (x1, y1) = begin, end
    style = {"color": BLUE, "linewidth": 2.2} if used else {"color": "#C4C4C4", "linestyle": "--"}
    axes.plot([x0, x1], [y0, y1], zorder=2 if used else 1, **style)
    axes.text(
        *(x0 + place * (x1 - x0), y0 + place * (y1 - y0), label),
        ha="center",
        va="center",
        fontsize=8.5,
        color=BLACK if used else "#6B6B6B",
        fontweight="bold" if used else "normal",
        bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"},
        zorder=3,
    )


def ascent(scores: Array, steps: list[tuple[Array, Array]], n: int) -> Figure:
    """Reduced scores after each half round, with prices and with what is held."""
    across = 4
    down = -(-len(steps) // across)
    figure, grid = plt.subplots(down, across, figsize=(13, 3.15 * down))
    figure.get_layout_engine().set(w_pad=0.2)
    for axes in grid.ravel()[len(steps) :]:
        axes.set_axis_off()
    reach = max(np.abs(scores - u[:, None] - v).max() for u, v in steps)
    for k, (axes, (u, v)) in enumerate(zip(grid.ravel(), steps, strict=False)):
        reduced = scores - u[:, None] - v
        mask = reduced > 0
        signed(axes, reduced, mask, reach, form="{:+.1f}", fontsize=9)
        holding(axes, mask, n)
        for i, price in enumerate(u):
            style = {"ha": "right", "va": "center", "fontsize": 9, "color": GREEN}
            axes.text(-0.1, i + 0.5, f"u={price:.0f}", **style)
        for j, price in enumerate(v):
            style = {"ha": "center", "va": "bottom", "fontsize": 9, "color": GREEN}
            axes.text(j + 0.5, -0.08, f"v={price:.0f}", **style)
        moved = "columns" if k % 2 else "rows"
        axes.set_title(f"round {k // 2 + 1}: {moved} set their prices", pad=18)
    return figure


def bounds(values: list[float], optimum: float) -> Figure:
    """The dual bound falling to the optimum."""
    figure, axes = plt.subplots(figsize=(8, 3.4))
    places = np.arange(1, len(values) + 1)
    axes.plot(places, values, color=BLUE, marker="o", label="upper bound that the prices prove")
    axes.axhline(optimum, color=RED, linestyle="--", label="score of the best mask")
    for x, value in zip(places, values, strict=True):
        style = {"textcoords": "offset points", "ha": "left", "fontsize": 9}
        axes.annotate(f"{value:.1f}".removesuffix(".0"), (x, value), xytext=(4, 6), **style)
    names = [f"{'columns' if k % 2 else 'rows'}\n{k // 2 + 1}" for k in range(len(values))]
    axes.set_xticks(places, names)
    span = max(values) - optimum
    axes.set(xlabel="who moved, in which round", ylabel="score", xlim=(0.6, len(values) + 0.4))
    axes.set_ylim(optimum - 0.15 * span, optimum + 1.25 * span)
    axes.legend(loc="upper right")
    axes.grid(axis="y")
    return figure


def settling(rounds: dict[str, tuple[Array, Array]]) -> Figure:
    """Units misplaced after each round, plain and relaxed: a panel for each n:m."""
    figure, row = plt.subplots(1, len(rounds), figsize=(12, 3.6), sharey=True)
    for axes, (title, (plain, relaxed)) in zip(row, rounds.items(), strict=True):
        places = np.arange(1, len(plain) + 1)
        # No point on a logarithmic scale where nothing is misplaced.
        plain, relaxed = (np.where(x > 0, x, np.nan) for x in (plain, relaxed))
        axes.plot(places, plain, color=ORANGE, marker="s", linestyle="--", label="midpoint")
        axes.plot(places, relaxed, color=BLUE, marker="o", label="relaxed midpoint")
        axes.set(yscale="log", title=title, xlabel="rounds")
        axes.set_xticks(places[1::2])
        axes.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
        axes.grid()
    row[0].set_ylabel("misplaced entries (mean of a tile)")
    row[-1].legend(loc="upper right")
    return figure


def proof(scores: Array, u: Array, v: Array, mask: NDArray[np.bool_]) -> Figure:
    """Scores and reduced scores side by side: every kept one positive, every pruned one not."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4))
    table(left, scores, marked=mask)
    left.set_title("scores; kept ones framed", pad=24)
    reduced = scores - u[:, None] - v
    reach = np.abs(reduced).max()
    signed(right, reduced, mask, reach, form="{:+.2f}")
    right.set_title("score - u - v:\nkept > 0 (blue, framed), pruned < 0 (orange)", pad=24)
    margins(left, [f"u = {x:.1f}" for x in u], [f"v = {x:.1f}" for x in v], fontsize=9)
    return figure


def transposes(mask: NDArray[np.bool_], n: int) -> Figure:
    """The mask and its transpose; n of every m in the rows of both."""
    figure, row = plt.subplots(1, 2, figsize=(8, 4.3))
    names = ("W: the forward product\nreads its rows", "W.T: the backward product\nreads its rows")
    for axes, each, name in zip(row, (mask, mask.T), names, strict=True):
        axes.pcolormesh(each, cmap=KEPT, vmin=0, vmax=1, edgecolors="white", linewidth=2)
        for i, j in zip(*np.nonzero(each), strict=True):
            label = f"w{i}{j}" if each is mask else f"w{j}{i}"
            axes.text(j + 0.5, i + 0.5, label, ha="center", va="center", color="white")
        bare(axes, each.shape)
        margins(axes, [f"{x} of {len(each)}" for x in each.sum(axis=1)], [""] * len(each))
        axes.set_title(name)
    return figure
