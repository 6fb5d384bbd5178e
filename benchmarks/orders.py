"""What orders and bases of heads buy: ``python -m benchmarks.orders [PART...]``.

Writes ``benchmarks/results/orders.json`` and ``orders.txt``, for README and
``notebooks/07_orders.ipynb``: what masks of MiniLM keep before and after each kind of order that it
lets through, the output error of its layers and the cosine of its embeddings after ``convert`` with
and without orders and turned heads, and the time of an order of a random matrix. Twenty minutes on
two cores; a part that is named is measured anew, the others stay as they are.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nmflow
from benchmarks.conversion import minilm
from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results" / "orders.json"
PATTERN = (4, 8)
TEXTS = 64
PARTS = (
    ("hidden",),
    ("values",),
    ("queries",),
    ("hidden", "values", "queries"),
    ("hidden", "values", "queries", "stream"),
)
# Cosines of sentence embeddings don't see the order of the residual stream that is put out.
ALL = PARTS[-1]
SIDE, ROUNDS = 4096, 2


def kept() -> dict[str, Any]:
    """What magnitudes masks keep of MiniLM, by the kinds of orders that are searched."""
    import nmflow.torch

    rows = []
    for kinds in PARTS:
        model, _ = minilm.load()
        report = nmflow.torch.permute(model, *PATTERN, kinds=kinds)
        rows.append(
            {
                "kinds": list(kinds),
                "weights": len(report.layers),
                "kept_before": report.kept_before,
                "kept_after": report.kept_after,
                "kept_unstructured": report.kept_unstructured,
                "difference": report.difference,
                "seconds": report.seconds,
            }
        )
    return {"rows": rows}


def conversion(permute: bool | tuple[str, ...] = False, rotate: bool = False) -> dict[str, Any]:
    """The output errors of MiniLM's layers after its conversion, and its embeddings' cosine."""
    import nmflow.torch

    model, tokenizer = minilm.load()
    texts, held_out = minilm.texts(TEXTS, 0)
    read = minilm.batches(tokenizer, held_out)
    dense = minilm.embed(model, read)
    report = nmflow.torch.convert(
        model,
        minilm.batches(tokenizer, texts),
        *PATTERN,
        certify=False,
        permute=permute,
        rotate=rotate,
        progress=False,
    )
    orders, rotations = report.orders, report.rotations
    for each in () if orders is None else orders.orders:
        if each.kind == "stream":
            dense = dense[:, each.order]
    return {
        "texts": TEXTS,
        "errors": {layer.name: layer.error for layer in report.converted},
        "cosine": minilm.cosine(minilm.embed(model, read), dense),
        "seconds": report.seconds,
        "rotations": told(rotations),
        "orders": told(orders, "kept_unstructured"),
    }


def told(report: Any, *more: str) -> dict[str, float] | None:
    """What the results have of a search's report, where there was one."""
    names = ("seconds", "difference", "kept_before", "kept_after", *more)
    return None if report is None else {name: getattr(report, name) for name in names}


def large() -> dict[str, Any]:
    """The time of both orders of a large matrix, on all cores."""
    weights = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    nmflow.permute(weights[:64, :64], *PATTERN, rounds=1)
    found = nmflow.permute(weights, *PATTERN, rounds=ROUNDS)
    total = float(np.abs(weights).sum(dtype=np.float64))
    return {
        "side": SIDE,
        "rounds": found.rounds,
        "seconds": found.seconds,
        "kept_before": found.kept_before / total,
        "kept_after": found.kept_after / total,
        "kept_unstructured": found.kept_unstructured / total,
    }


PREPARED = ("permuted", "permuted with stream", "rotated", "rotated and permuted with stream")
MEASURES: dict[str, Callable[[], dict[str, Any]]] = {
    "kept": kept,
    "as it is": conversion,
    "permuted": lambda: conversion(True),
    "permuted with stream": lambda: conversion(ALL),
    "rotated": lambda: conversion(rotate=True),
    # Orders within heads are among their bases.
    "rotated and permuted with stream": lambda: conversion(("hidden", "stream"), rotate=True),
    "large": large,
}


def change(report: dict[str, Any], name: str = "permuted") -> float:
    """How the geometric mean of the layers' errors changes, relative to the model as it is."""
    before, after = (report[part]["errors"] for part in ("as it is", name))
    logs = [math.log(after[name] / before[name]) for name in before]
    return math.expm1(math.fsum(logs) / len(logs))


def gap_closed(row: dict[str, Any]) -> float:
    """The share of what the pattern costs against unstructured masks that is won back."""
    gap: float = row["kept_unstructured"] - row["kept_before"]
    return float((row["kept_after"] - row["kept_before"]) / gap)


def _cosine(report: dict[str, Any], name: str = "as it is") -> str:
    return f"{report[name]['cosine']:.4f}"


def text(report: dict[str, Any]) -> str:
    """The tables."""
    n, m = PATTERN
    lines = [f"MiniLM, {n}:{m} transposable, kept magnitude (mean of the weights that follow)"]
    lines += [
        f"  {', '.join(row['kinds']):26}{row['weights']:3} weights{100 * row['kept_before']:7.2f} %"
        f" ->{100 * row['kept_after']:6.2f} %, unstructured{100 * row['kept_unstructured']:6.2f} %,"
        f" {100 * gap_closed(row):4.1f} % of the gap, outputs {row['difference']:.0e},"
        f" {row['seconds']:.0f} s"
        for row in report["kept"]["rows"]
    ]
    lines += [f"convert, ALPS, {report['as it is']['texts']} texts, cosine {_cosine(report)}"]
    for name in PREPARED:
        found = [report[name][kind] for kind in ("rotations", "orders") if report[name].get(kind)]
        lines += [
            f"  {name}: output error of layers, geometric mean, {100 * change(report, name):+.1f}"
            f" %, cosine {_cosine(report, name)} (outputs of the dense model"
            f" {max(each['difference'] for each in found):.0e}, search"
            f" {sum(each['seconds'] for each in found):.0f} s)",
        ]
    row = report["large"]
    lines += [
        f"random {row['side']} x {row['side']}, both sides, {row['rounds']} rounds:"
        f" {row['seconds']:.0f} s, kept {100 * row['kept_before']:.2f} % ->"
        f" {100 * row['kept_after']:.2f} %, {100 * gap_closed(row):.1f} % of the gap"
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure what is named or missing, print and write."""
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, measure in MEASURES.items():
        if name in sys.argv[1:] or name not in report:
            print(f"{name} ...", flush=True)
            report[name] = measure()
            report["machine"] = describe()
            RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    RESULTS.with_suffix(".txt").write_text(text(report) + "\n")
    print(text(report))


if __name__ == "__main__":
    main()
