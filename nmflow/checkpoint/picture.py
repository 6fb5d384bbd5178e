"""A report as a picture: what each layer keeps, and a piece of a mask beside its transpose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nmflow.checkpoint.files import replacing
from nmflow.checkpoint.report import LayerReport, PruneReport
from nmflow.errors import MissingExtraError, NmflowError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")

# Okabe and Ito's colours, told apart with any colour vision; the markers differ as well.
_BLACK, _ORANGE, _BLUE, _GREEN, _GREY = "#000000", "#E69F00", "#0072B2", "#009E73", "#8A8A8A"
_STYLES = {
    "unstructured": (_GREEN, "s"),
    "rows": (_ORANGE, "D"),
    "columns": (_BLACK, "v"),
    "transposable": (_BLUE, "o"),
}
_MOST_LABELS = 48
_LABEL_LENGTH = 38
_LEAST_SPAN = 4  # per cent


def check_picture(path: Path) -> None:
    """Raise if no picture could be saved there.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    NmflowError
        If the name ends in none of :data:`SUFFIXES`.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingExtraError("plotting", "plot") from None
    if path.suffix.lower() not in SUFFIXES:
        raise NmflowError(f"cannot draw {path}: the name must end in {', '.join(SUFFIXES)}")


def save_picture(report: PruneReport, path: str | os.PathLike[str]) -> None:
    """Draw a report and save it; the file appears complete or not at all.

    Parameters
    ----------
    report : PruneReport
    path : path
        Its suffix says the format.
    """
    path = Path(path)
    check_picture(path)
    figure = draw_report(report)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=150)


def draw_report(report: PruneReport) -> Figure:
    """The picture as a matplotlib figure, made without touching pyplot's state."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    shown = min(len(report.layers), _MOST_LABELS)
    height = max(5.6, 1.7 + 0.2 * shown)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)
    figure = Figure(figsize=(13, height), layout=layout)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    left, right = halves
    count = f"{len(report.layers)} layer{'s' if len(report.layers) > 1 else ''}"
    left.suptitle(f"{report.pattern.n}:{report.pattern.m}: kept score of {count}", fontsize=12)
    _draw_shares(left.subplots(), report)
    left.legend(
        loc="outside lower center",
        ncols=2 if len(report.patterns) == 4 else 3,
        fontsize=9,
        frameon=False,
        handletextpad=0.2,
    )
    _draw_masks(right, report)
    return figure


def _draw_shares(axes: Axes, report: PruneReport) -> None:
    layers = report.layers
    places = np.arange(len(layers))
    shares = {name: [100 * x.share(name) for x in layers] for name in report.patterns}
    axes.hlines(places, *_spread(shares), color="#D9D9D9", linewidth=1, zorder=1)
    for name in report.patterns:
        colour, marker = _STYLES[name]
        label = f"{name}: {100 * report.share(name):.1f} % overall"
        axes.plot(shares[name], places, marker, color=colour, markersize=5.5, label=label)
    step = -(-len(layers) // _MOST_LABELS)
    axes.set_yticks(places[::step], short_labels(layers)[::step], fontsize=8)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlabel("kept score (% of the layer's total)")
    low, high = axes.get_xlim()
    # A few layers that hardly differ should look so.
    axes.set_xlim(
        min(low, (low + high - _LEAST_SPAN) / 2), max(high, (low + high + _LEAST_SPAN) / 2)
    )
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _spread(shares: dict[str, list[float]]) -> tuple[NDArray[Any], NDArray[Any]]:
    table = np.array(list(shares.values()))
    return table.min(axis=0), table.max(axis=0)


def _draw_masks(figure: Any, report: PruneReport) -> None:
    mask, pattern = report.sample.mask, report.pattern
    upper, lower = figure.subplots(2, 1)
    _draw_mask(upper, mask, pattern.m, "input", "output")
    _draw_mask(lower, mask.T, pattern.m, "output", "input")
    rows, columns = mask.shape
    name = _shorten(report.sample.name.removesuffix(".weight"), 46)
    figure.suptitle(f"{pattern}: {name}", fontsize=12)
    upper.set_title(f"W, first {rows} x {columns} weights (blue: kept)", fontsize=10)
    lower.set_title("the same, transposed", fontsize=10)


def _draw_mask(axes: Axes, mask: NDArray[np.bool_], m: int, across: str, down: str) -> None:
    from matplotlib.colors import ListedColormap

    rows, columns = mask.shape
    colours = ListedColormap(["#F4F4F4", _BLUE])
    axes.pcolormesh(mask, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=0.4)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    for k in range(0, rows + 1, m):
        axes.axhline(k, color=_BLACK, linewidth=1.1, clip_on=False)
    for k in range(0, columns + 1, m):
        axes.axvline(k, color=_BLACK, linewidth=1.1, clip_on=False)
    axes.set_xticks(range(0, columns + 1, m))
    axes.set_yticks(range(0, rows + 1, m))
    axes.tick_params(labelsize=8, length=2)
    axes.set_xlabel(f"{across} index", fontsize=9)
    axes.set_ylabel(f"{down} index", fontsize=9)
    axes.spines[:].set_visible(False)


def short_labels(layers: tuple[LayerReport, ...]) -> list[str]:
    """The layers' names without what all of them begin and end with, whole components only."""
    names = [layer.name.split(".") for layer in layers]
    if len(names) > 1:
        for end in (0, -1):
            while all(len(name) > 1 and name[end] == names[0][end] for name in names):
                for name in names:
                    del name[end]
    return [_shorten(".".join(name), _LABEL_LENGTH) for name in names]


def _shorten(label: str, length: int) -> str:
    if len(label) <= length:
        return label
    head = (length - 1) // 3
    return f"{label[:head]}…{label[head + 1 - length :]}"
