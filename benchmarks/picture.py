"""README's picture: time per tile against loss, one panel an n:m, exact solvers in a band below."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nmflow
from benchmarks.problems import COMMON
from benchmarks.tables import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KIND = "MiniLM float32"

# Okabe and Ito's colours, told apart with any colour vision; the markers differ as well.
_STYLES = {
    "flow": {"color": "#D55E00", "marker": "*", "s": 170},
    "nmflow, exact": {"color": "#0072B2", "marker": "o", "s": 42},
    "nmflow, approximate": {"color": "#CC79A7", "marker": "D", "s": 38},
    "other packages, exact": {"color": "#000000", "marker": "s", "s": 34},
}
_LABELS = {"flow": "flow, nmflow's default"}
_HOLLOW = "hollow: mask not n:m everywhere"
# Per cent.
_LOSSES = (4e-4, 40)
# A point less than this factor above another has its label on the left, the other on the right.
_CLOSE = 3


def drawn(report: dict[str, Any]) -> dict[str, dict[str, tuple[float, float, bool]]]:
    """What the picture shows: for each n:m and name, microseconds, loss, and whether full."""
    return {
        pattern: {
            name: (row["microseconds"]["median"], row["mean_loss"], row["not_full"] == 0)
            for name, row in report["tiles"][pattern][KIND].items()
        }
        for pattern in (f"{n}:{m}" for n, m in COMMON)
    }


def stamp(report: dict[str, Any]) -> str:
    """A digest of what the picture shows, which its file carries."""
    return hashlib.sha256(json.dumps(drawn(report)).encode()).hexdigest()


def save(report: dict[str, Any], path: Path) -> None:
    """Draw and save as SVG, the same bytes from the same figures."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings = {"svg.hashsalt": "nmflow", "svg.fonttype": "path", "font.size": 9.5}
    with rc_context(settings):
        figure = Figure(figsize=(10, 10.6), layout="constrained")
        grid = figure.subplots(4, 2, height_ratios=[3, 4, 3, 4], sharex=True)
        panels = drawn(report)
        times = [time for points in panels.values() for time, _, _ in points.values()]
        grid[0, 0].set(xscale="log", xlim=(min(times) / 4, max(times) * 3))
        for k, (pattern, points) in enumerate(panels.items()):
            row, column = 2 * (k // 2), k % 2
            upper, lower = grid[row, column], grid[row + 1, column]
            _losses(upper, points)
            _exact(lower, points)
            upper.set_title(pattern, fontweight="bold")
            if column == 0:
                upper.set_ylabel("mean loss of kept score")
                lower.set_ylabel("exact: no loss", labelpad=44)
            if row == 2:
                lower.set_xlabel("µs per tile, one core")
        _legend(figure)
        figure.savefig(path, metadata={"Date": None, "Description": stamp(report)})


def style(name: str) -> dict[str, Any]:
    """Colour and marker of a method or peer."""
    return _STYLES[_family(name)]


def _family(name: str) -> str:
    exact = {method.name: method.exact for method in nmflow.methods()}
    if name == "flow":
        return name
    if name not in exact:
        return "other packages, exact"
    return "nmflow, exact" if exact[name] else "nmflow, approximate"


def _losses(axes: Axes, points: dict[str, tuple[float, float, bool]]) -> None:
    """Approximate methods, each with its label beside it."""
    axes.set(xscale="log", yscale="log", ylim=_LOSSES)
    _plain(axes.yaxis, "{:g} %")
    below = 0.0
    for name, (time, loss, full) in sorted(points.items(), key=lambda p: p[1][1]):
        if _family(name) != "nmflow, approximate":
            continue
        height = max(100 * loss, _LOSSES[0])
        _mark(axes, name, time, height, full)
        _label(axes, name, time, height, left=height < _CLOSE * below)
        below = height


def _exact(axes: Axes, points: dict[str, tuple[float, float, bool]]) -> None:
    """Exact methods and peers, one a line, the fastest lowest."""
    axes.set(xscale="log", yticks=[], facecolor="#F4F7FA")
    _plain(axes.xaxis, "{:g}")
    names = [name for name in points if _family(name) != "nmflow, approximate"]
    names.sort(key=lambda name: points[name][0])
    least, most = axes.get_xlim()
    middle = (least * most) ** 0.5
    for height, name in enumerate(names):
        time = points[name][0]
        _mark(axes, name, time, height, True)
        _label(axes, name, time, height, left=time > middle)
    axes.set_ylim(-0.8, max(len(names), 10) - 0.2)


def _plain(axis: Any, pattern: str) -> None:
    """Plain numbers at powers of ten, lines behind the points."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: pattern.format(value)))
    axis.set_minor_locator(NullLocator())
    axis.axes.grid(color="#DDDDDD", linewidth=0.6)
    axis.axes.set_axisbelow(True)


def _label(axes: Axes, name: str, time: float, height: float, left: bool) -> None:
    axes.annotate(
        _LABELS.get(name, title(name)),
        xy=(time, height),
        xytext=(-9 if left else 9, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center_baseline",
        fontweight="bold" if name == "flow" else "normal",
    )


def _mark(axes: Axes, name: str, time: float, height: float, full: bool) -> None:
    look = style(name)
    axes.scatter(
        time,
        height,
        s=look["s"],
        marker=look["marker"],
        edgecolors=look["color"],
        facecolors=look["color"] if full else "white",
        linewidths=1.4,
        zorder=3,
    )


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    def handle(label: str, look: dict[str, Any], face: str | None = None) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="",
            label=label,
            marker=look["marker"],
            color=look["color"],
            markerfacecolor=face or look["color"],
            markersize=look["s"] ** 0.5,
        )

    handles = [handle(label, look) for label, look in _STYLES.items()]
    handles.append(handle(_HOLLOW, _STYLES["nmflow, approximate"], "white"))
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
