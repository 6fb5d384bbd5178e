"""What conversion costs and loses, as plain text and as the guide's table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.conversion.projection import projected
from benchmarks.tables import machine

Report = dict[str, Any]

DEFAULT = "ALPS, dense aims (the default)"

_NOTES = """\
MiniLM (22.7 M parameters, 36 encoder matrices converted), calibrated on docstrings of the standard
library, held against 384 others. Cosine: of held-out sentence embeddings to the dense model's, mean
(of draws of the calibration texts, where there are several, with the lowest and highest).
Neighbours: share of texts whose nearest other text stays the same. Error: squared output error of
the layers on the calibration texts, mean. Seconds: whole conversions, one core, two at a time or
beside other work, on processors of this family: they compare roughly. All masks are exact,
certified with gap 0 for the scores that they were chosen by."""


def text(report: Report) -> str:
    """All figures."""
    parts = [machine(report), "", _NOTES]
    parts += ["", f"{report['done']} of {report['of']} conversions are in here."]
    for n, m, pattern in _patterns(report):
        parts += ["", *_fidelity(report, n, m, pattern)]
    parts += ["", *_samples(report), "", *_zeros(report)]
    if "language" in report:
        parts += ["", *_language(report["language"])]
    if "layers" in report:
        parts += ["", *_layers(report["layers"])]
    if "large" in report:
        parts += ["", *_large(report["large"])]
    return "\n".join(parts)


def readme(report: Report) -> str:
    """The guide's table: cosine of each way at each pattern."""
    columns = _patterns(report)
    rows = {(r["title"], r["n"], r["m"], r["pattern"]): r for r in report["fidelity"]}
    heads = [f"{n}:{m}" + (" one-way" if pattern == "rows" else "") for n, m, pattern in columns]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(columns) + 1) + "|"]
    for title in dict.fromkeys(row["title"] for row in report["fidelity"]):
        found = [rows.get((title, *column)) for column in columns]
        cells = ["" if row is None else f"{row['cosine']:.3f}" for row in found]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def short(report: Report) -> str:
    """Cosine of the default at each transposable pattern."""
    found = {
        (row["m"], row["n"]): row["cosine"]
        for row in report["fidelity"]
        if row["title"] == DEFAULT and row["pattern"] == "transposable"
    }
    return ", ".join(f"{found[key]:.3f}" for key in sorted(found))


def _patterns(report: Report) -> list[tuple[int, int, str]]:
    """The different patterns, transposable ones first."""
    found = {(row["n"], row["m"], row["pattern"]) for row in report["fidelity"]}
    return sorted(found, key=lambda each: (each[2] != "transposable", each[1], each[0]))


def _fidelity(report: Report, n: int, m: int, pattern: str) -> list[str]:
    lines = [f"{n}:{m} {pattern}", _line("", ("cosine", "neighbours", "error", "seconds", "fits"))]
    for row in report["fidelity"]:
        if (row["n"], row["m"], row["pattern"]) != (n, m, pattern):
            continue
        cosine = f"{row['cosine']:.4f}"
        if row["draws"] > 1:
            cosine += f" ({min(row['cosines']):.4f}-{max(row['cosines']):.4f})"
        figures = f"{row['neighbours']:.3f}", f"{100 * row['error']:.2f} %"
        times = f"{row['seconds']:.0f}", f"{row['fit_seconds']:.0f}"
        lines.append(_line(row["title"], (cosine, *figures, *times)))
    return lines


def _samples(report: Report) -> list[str]:
    heads = ("texts", "cosine", "error on them")
    lines = ["4:8 transposable, by the number of calibration texts", _line("", heads)]
    for row in sorted(report["samples"], key=lambda each: (each["title"], each["samples"])):
        figures = f"{row['samples']}", f"{row['cosine']:.4f}", f"{100 * row['error']:.2f} %"
        lines.append(_line(row["title"], figures))
    return lines


def _zeros(report: Report) -> list[str]:
    heads = ("zeros before", "pattern", "cosine before", "cosine", "neighbours")
    head = "Unstructured zeros by magnitude first, which stay; the aim is that sparse model"
    lines = [head, _line("", heads)]
    for row in report["zeros"]:
        before = f"{100 * row['sparsity']:.0f} %", f"{row['n']}:{row['m']}"
        after = f"{row['before']['cosine']:.4f}", f"{row['cosine']:.4f}", f"{row['neighbours']:.3f}"
        lines.append(_line(row["title"], (*before, *after)))
    return lines


def _language(found: dict[str, Any]) -> list[str]:
    steps = list(found["dense_after"])
    after = ", ".join(f"{k} steps more {found['dense_after'][k]:.4f}" for k in steps)
    lines = [
        f"The transformer of benchmarks/training on the standard library's source, calibrated on"
        f" {found['bytes']:,} bytes: bits per byte held out.",
        f"Dense: {found['dense']:.4f}; {after}.",
        _line("", ("pattern", "converted", *(f"{k} steps" for k in steps))),
    ]
    for row in found["rows"]:
        pattern = f"{row['n']}:{row['m']} {row['pattern']}"
        bits = (f"{row['bits'][k]:.4f}" for k in ("0", *steps))
        lines.append(_line(row["title"], (pattern, *bits)))
    return lines


def _layers(rows: Sequence[dict[str, Any]]) -> list[str]:
    heads = ("layer", "seconds", "MB beyond", "iterations")
    lines = ["One layer with random inputs, 8:16 transposable, one core", _line("", heads)]
    for row in rows:
        title = row["method"] + (f" + {row['reconstruction']}" if row["reconstruction"] else "")
        shape = " x ".join(map(str, row["shape"]))
        figures = f"{row['seconds']:.2f}", f"{row['bytes_beyond'] / 1e6:.0f}"
        iterations = str(3 * row["iterations"]) if row["iterations"] else ""
        lines.append(_line(title, (shape, *figures, iterations)))
    lines += [
        "",
        "Projected from the largest of each way, not measured: fits of whole models, 8:16",
    ]
    lines.append(_line("", ("model", "core hours", "GB")))
    for row in projected(rows):
        title = row["method"] + (f" + {row['reconstruction']}" if row["reconstruction"] else "")
        figures = f"{row['hours']:.1f}", f"{row['gigabytes']:.0f}"
        lines.append(_line(title, (row["model"], *figures)))
    return lines


def _large(found: dict[str, Any]) -> list[str]:
    return [
        f"A Llama-like model of {found['parameters'] / 1e6:.0f} M random parameters in float32"
        f" ({found['weights_bytes'] / 1e6:.0f} MB), {found['layers']} matrices converted to 8:16 by"
        f" the default method on {found['tokens']:,} tokens: peak memory"
        f" {found['peak_bytes'] / 1e6:.0f} MB, {found['times_weights']:.2f} times its weights,"
        f" {found['seconds']:.0f} s, gap {found['gap']:g}."
    ]


def _line(title: str, cells: Sequence[str]) -> str:
    first, *rest = cells
    return f"  {title:44}{first:>26}" + "".join(f"{cell:>15}" for cell in rest)
