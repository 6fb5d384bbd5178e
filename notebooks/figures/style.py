"""What all pictures share: colours that anyone can tell apart, markers, tiles drawn as tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

# Okabe and Ito's colours; whatever they tell apart, markers, hatches or line styles do too.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, RED, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#8A8A8A"

# From pruned to kept.
SIGNS = LinearSegmentedColormap.from_list("signs", ["#E69F00", "#FFFFFF", "#0072B2"])
HEAT = LinearSegmentedColormap.from_list("heat", ["#FFFFFF", "#9CCBE8", "#0072B2"])
KEPT = ListedColormap(["#F2F2F2", BLUE])


def use_style() -> None:
    """Set matplotlib's defaults for a notebook."""
    plt.rcParams |= {
        "figure.dpi": 100,
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": "#E6E6E6",
        "legend.frameon": False,
    }


def results(name: str) -> dict[str, Any]:
    """A committed report of ``benchmarks/results``."""
    report: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return report


def table(
    axes: Axes,
    values: NDArray[Any],
    *,
    colours: Any = HEAT,
    limits: tuple[float, float] | None = None,
    form: str = "{:.0f}",
    marked: NDArray[np.bool_] | None = None,
    shades: NDArray[Any] | None = None,
    fontsize: float = 11,
) -> None:
    """A small matrix as coloured cells with their numbers; frames around the marked ones.

    Where colours are not to follow the numbers themselves they follow ``shades``.
    """
    shades = values if shades is None else shades
    low, high = limits or (float(shades.min()), float(shades.max()))
    axes.pcolormesh(
        shades, cmap=colours, vmin=low, vmax=high, edgecolors="white", linewidth=1.5, zorder=1
    )
    for (i, j), value in np.ndenumerate(values):
        red, green, blue, _ = colours((shades[i, j] - low) / (high - low))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.55
        strong = marked is not None and marked[i, j]
        axes.text(
            *(j + 0.5, i + 0.5, form.format(value)),
            ha="center",
            va="center",
            color="white" if dark else "black",
            fontsize=fontsize,
            fontweight="bold" if strong else "normal",
        )
        if strong:
            frame = plt.Rectangle((j + 0.06, i + 0.06), 0.88, 0.88, fill=False, lw=2, zorder=3)
            axes.add_patch(frame)
    bare(axes, values.shape)


def signed(
    axes: Axes, values: NDArray[Any], marked: NDArray[np.bool_], reach: float, **options: Any
) -> None:
    """A table whose colours tell signs apart, also those of small numbers."""
    shades = np.sign(values) * (0.2 + 0.8 * np.sqrt(np.abs(values) / reach))
    table(axes, values, colours=SIGNS, limits=(-1, 1), marked=marked, shades=shades, **options)


def bare(axes: Axes, shape: tuple[int, ...]) -> None:
    """Square cells, rows downwards, no ticks."""
    axes.set_aspect("equal")
    axes.set_xlim(0, shape[1])
    axes.set_ylim(shape[0], 0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def margins(
    axes: Axes, right: list[str], below: list[str], wrong: Any = (), fontsize: float = 10
) -> None:
    """Numbers beside rows and below columns; those in ``wrong``, ("row", 2) say, stand out."""
    for side, labels in (("row", right), ("column", below)):
        for k, label in enumerate(labels):
            bad = (side, k) in wrong
            x, y = (len(below) + 0.12, k + 0.5) if side == "row" else (k + 0.5, len(right) + 0.12)
            axes.text(
                *(x, y, label),
                ha="left" if side == "row" else "center",
                va="center" if side == "row" else "top",
                color=RED if bad else "#444444",
                fontweight="bold" if bad else "normal",
                fontsize=fontsize,
                clip_on=False,
            )
