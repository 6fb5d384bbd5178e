"""Records of conversions, put together for tables and pictures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.conversion.runs import SAMPLES, Run
from benchmarks.training.store import Store

# What makes a row of a part another one's equal.
_KEYS = {
    "fidelity": ("title", "n", "m", "pattern"),
    "samples": ("title", "samples"),
    "zeros": ("title", "n", "m", "sparsity"),
    "layers": ("shape", "method", "reconstruction"),
}
_SHOWN = ("cosine", "neighbours", "error", "masked_error", "seconds", "fit_seconds")


def summarise(todo: Sequence[Run], store: Store) -> dict[str, Any]:
    """Rows of what is done; means over draws, and each draw's figures."""
    done = [(run, record) for run in todo if (record := store.load(run.key)) is not None]
    plain = [(run, r) for run, r in done if run.samples == SAMPLES and not run.sparsity]
    fidelity = {}
    for run, _ in plain:
        of_kind = [
            record
            for other, record in plain
            if (other.how, other.n, other.m, other.pattern) == (run.how, run.n, run.m, run.pattern)
        ]
        fidelity[run.how.title, run.n, run.m, run.pattern] = _row(run, of_kind)
    return {
        "texts": SAMPLES,
        "done": len(done),
        "of": len(todo),
        "fidelity": list(fidelity.values()),
        "samples": [
            {"title": run.how.title, "samples": run.samples, **_figures(record)}
            for run, record in done
            if not run.sparsity and run.draw == 0 and (run.n, run.m) == (4, 8)
            if run.pattern == "transposable" and run.how.title in _titles_of_sizes(done)
        ],
        "zeros": [
            {
                **{"title": run.how.title, "n": run.n, "m": run.m, "sparsity": run.sparsity},
                **{"before": record["before"], **_figures(record)},
            }
            for run, record in done
            if run.sparsity
        ],
        "admm": next(
            (
                {"title": run.how.title, "n": run.n, "m": run.m, "rows": record["example"]}
                for run, record in plain
                if record["example"] and run.how.method == "alps"
            ),
            None,
        ),
    }


def carry_over(report: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """A report with what an earlier one has beyond it: records are not kept for ever, reports are.

    A row counts by what was converted and how; where both have it, that of more draws stays, the
    new one if they are as many.
    """
    merged = {**before, **{name: part for name, part in report.items() if part is not None}}
    for part, names in _KEYS.items():
        rows = {}
        for row in (*before.get(part, ()), *report.get(part, ())):
            key = json.dumps([row[name] for name in names])
            if key not in rows or row.get("draws", 1) >= rows[key].get("draws", 1):
                rows[key] = row
        merged[part] = list(rows.values())
    sizes = [row for row in merged["samples"] if row["samples"] != SAMPLES]
    draws = sum(row["draws"] for row in merged["fidelity"])
    merged["done"] = draws + len(sizes) + len(merged["zeros"])
    return merged


def is_in(report: dict[str, Any], run: Run) -> bool:
    """Whether a report has what a run would add to it."""
    how = run.how.title
    if run.sparsity:
        wanted, part, names = (how, run.sparsity), "zeros", ("title", "sparsity")
    elif run.samples != SAMPLES:
        wanted, part, names = (how, run.samples), "samples", ("title", "samples")
    else:
        wanted, part, names = (how, run.n, run.m, run.pattern), "fidelity", _KEYS["fidelity"]
    return any(
        tuple(row[name] for name in names) == wanted and row.get("draws", 1) > run.draw
        for row in report[part]
    )


def _titles_of_sizes(done: Iterable[tuple[Run, Any]]) -> set[str]:
    return {run.how.title for run, _ in done if run.samples != SAMPLES}


def _row(run: Run, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        **{"title": run.how.title, "published": run.how.published},
        **{"n": run.n, "m": run.m, "pattern": run.pattern, "draws": len(records)},
        "gap": max(record["gap"] for record in records),
        "tokens": records[0]["tokens"],
        **{name: statistics.fmean(record[name] for record in records) for name in _SHOWN},
        "cosines": [record["cosine"] for record in records],
    }


def _figures(record: dict[str, Any]) -> dict[str, float]:
    return {name: record[name] for name in _SHOWN}
