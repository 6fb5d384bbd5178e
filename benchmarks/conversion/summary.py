"""Records of conversions, put together for tables and pictures."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.conversion.runs import SAMPLES, Run
from benchmarks.training.store import Store

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
