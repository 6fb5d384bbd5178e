"""Pictures of ``05_conversion``."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

Report = dict[str, Any]

_COLOURS = (GREY, SKY, GREEN, PURPLE, RED, ORANGE, BLUE)
_PATTERNS = ((2, 4), (4, 8), (8, 16), (16, 32))


def ways(report: Report) -> Figure:
    """How near every way stays to the dense model, at every pattern."""
    titles = list(dict.fromkeys(row["title"] for row in report["fidelity"]))
    figure, pair = plt.subplots(1, 2, figsize=(12.5, 5.6), sharex=True, sharey=True)
    for axes, pattern in zip(pair, ("transposable", "rows"), strict=True):
        for place, (n, m) in enumerate(_PATTERNS):
            rows = _rows(report, n, m, pattern)
            at = [titles.index(row["title"]) + 0.15 * (place - 1.5) for row in rows]
            marker = {"marker": "^oDs"[place], "color": (ORANGE, BLUE, GREEN, BLACK)[place]}
            axes.plot([row["cosine"] for row in rows], at, ls="", label=f"{n}:{m}", **marker)
        axes.set(title={"rows": "one-way"}.get(pattern, pattern), xlabel="cosine to dense")
        axes.grid()
    pair[0].set_yticks(range(len(titles)), titles)
    pair[0].invert_yaxis()
    figure.legend(*pair[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def admm(report: Report) -> Figure:
    """The error and the movement of one layer's mask, every third iteration."""
    rows = report["admm"]["rows"]
    at = [row["iteration"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 3.8))
    left.plot(at, [100 * row["error"] for row in rows], "o-", color=BLUE, ms=3)
    left.set(ylabel="output error (%)", xlabel="iteration", title="error of the masked iterate")
    right.plot(at, [100 * row["changed"] for row in rows], "s-", color=ORANGE, ms=3)
    right.set_yscale("symlog", linthresh=0.01)
    right.set(ylabel="kept entries that changed (%)", xlabel="iteration", title="its mask")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.grid()
    return figure


def samples(report: Report) -> Figure:
    """What more calibration texts buy."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 3.8), sharex=True)
    titles = dict.fromkeys(row["title"] for row in report["samples"])
    for title, colour, marker in zip(titles, (ORANGE, GREEN, BLUE), "^Do", strict=False):
        rows = sorted(
            (row for row in report["samples"] if row["title"] == title),
            key=lambda row: row["samples"],
        )
        at = [row["samples"] for row in rows]
        style = {"color": colour, "marker": marker, "label": title}
        left.plot(at, [row["cosine"] for row in rows], **style)
        right.plot(at, [100 * row["error"] for row in rows], **style)
    left.set(xscale="log", ylabel="cosine to dense, held out", xlabel="calibration texts")
    left.set_xticks(sorted({row["samples"] for row in report["samples"]}))
    left.xaxis.set_major_formatter("{x:g}")
    left.minorticks_off()
    right.set(ylabel="output error on those texts (%)", xlabel="calibration texts")
    for axes in (left, right):
        axes.grid()
    left.legend()
    return figure


def language(report: Report) -> Figure:
    """Bits per byte after conversion, and after a few steps under its masks."""
    found = report["language"]
    steps = [0, *map(int, found["dense_after"])]
    patterns = list(dict.fromkeys((row["n"], row["m"]) for row in found["rows"]))
    titles = list(dict.fromkeys(row["title"] for row in found["rows"]))
    figure, row_of_axes = plt.subplots(1, len(patterns), figsize=(12.5, 4.2), sharey=True)
    for axes, (n, m) in zip(row_of_axes, patterns, strict=True):
        dense = [found["dense"], *found["dense_after"].values()]
        axes.plot(range(len(steps)), dense, "s-", color=BLACK, label="dense")
        for row in found["rows"]:
            if (row["n"], row["m"]) != (n, m):
                continue
            way = row["pattern"] == "rows"
            label = row["title"] + (", one-way" if way else "")
            colour = (ORANGE, GREEN, BLUE)[titles.index(row["title"])]
            style = {"color": colour, "ls": ":" if way else "-", "marker": "v" if way else "o"}
            axes.plot(range(len(steps)), list(row["bits"].values()), label=label, **style)
        axes.set_xticks(range(len(steps)), steps)
        axes.set(title=f"{n}:{m}", xlabel="steps of fine-tuning")
        axes.grid()
    row_of_axes[0].set_ylabel("bits per byte held out")
    figure.legend(*row_of_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def table(report: Report, n: int, m: int, pattern: str = "transposable") -> str:
    """The figures of every way at one pattern."""
    lines = [f"{n}:{m} {pattern:36}{'cosine':>8}{'neighbours':>12}{'error':>9}{'draws':>7}"]
    lines += [
        f"{row['title']:40}{row['cosine']:8.4f}{row['neighbours']:12.3f}"
        f"{100 * row['error']:8.2f}%{row['draws']:7}"
        for row in _rows(report, n, m, pattern)
    ]
    return "\n".join(lines)


def _rows(report: Report, n: int, m: int, pattern: str) -> list[dict[str, Any]]:
    wanted = (n, m, pattern)
    return [row for row in report["fidelity"] if (row["n"], row["m"], row["pattern"]) == wanted]
