"""What constraints cost: ``python -m benchmarks.constraints``.

Writes ``benchmarks/results/constraints.json`` and ``constraints.txt``: the time of
``solve(..., within=...)`` on one core in multiples of plain ``flow``, in the same run, for several
kinds of allowances on a matrix of MiniLM. A minute.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from benchmarks.encoder import encoder_matrices
from benchmarks.machine import describe
from benchmarks.tables import machine

RESULTS = Path(__file__).parent / "results"
PATTERNS = ((2, 4), (4, 8), (8, 16), (16, 32))
ROUNDS = 15


def allowances(weights: NDArray[Any], n: int, m: int) -> dict[str, NDArray[np.bool_]]:
    """What a sparser model may have left, and what it may not."""
    size, rng = np.abs(weights), np.random.default_rng(0)
    return {
        f"transposable {n // 2}:{m}": nmflow.solve(weights, n // 2, m),
        f"transposable {n}:{m}": nmflow.solve(weights, n, m),
        f"{n}:{m} along rows alone": nmflow.solve(weights, n, m, pattern="rows"),
        "30 % of all weights, the largest": size > np.quantile(size, 0.7),
        "50 % of all weights, the largest": size > np.quantile(size, 0.5),
        "95 % of all weights, at random": rng.random(weights.shape) < 0.95,
    }


def compare(ours: Callable[[], object], peer: Callable[[], object]) -> tuple[float, float]:
    """The peer's median time in ms, and the median ratio of neighbouring calls."""
    ours()
    peer()
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        peer()
        middle = time.perf_counter()
        ours()
        times.append((middle - begin, time.perf_counter() - middle))
    ratio = statistics.median(mine / its for its, mine in times)
    return 1e3 * statistics.median(its for its, _ in times), ratio


def measure() -> list[dict[str, Any]]:
    """A row for each pattern and allowance."""
    weights = max(encoder_matrices(), key=lambda matrix: matrix.size)
    rows = []
    for n, m in PATTERNS:
        for name, allowed in allowances(weights, n, m).items():
            options: dict[str, Any] = {"within": allowed, "at_most": True, "workers": 1}
            mask = nmflow.solve(weights, n, m, **options)
            plain, ratio = compare(
                lambda n=n, m=m, options=options: nmflow.solve(weights, n, m, **options),
                lambda n=n, m=m: nmflow.solve(weights, n, m, workers=1),
            )
            rows.append(
                {
                    **{"n": n, "m": m, "allowed": name, "flow_ms": plain, "ratio": ratio},
                    "gap": nmflow.certify(weights, mask, n, m, **options).gap,
                }
            )
            print(f"{n}:{m} {name}: {ratio:.2f}", flush=True)
    return rows


def text(report: dict[str, Any]) -> str:
    """The table."""
    names = list(dict.fromkeys(row["allowed"] for row in report["rows"]))
    lines = [machine(report), "", "Time of solve within an allowance, in multiples of plain flow;"]
    lines += ["one core, a matrix of MiniLM of 1536 x 384, medians, interleaved; gap 0 of all.", ""]
    for n, m in PATTERNS:
        for name in names:
            for row in report["rows"]:
                if (row["n"], row["m"], row["allowed"]) == (n, m, name):
                    lines.append(f"{n:3}:{m:<3}{name:36}{row['ratio']:7.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    report = {"machine": describe(), "rows": measure()}
    (RESULTS / "constraints.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "constraints.txt").write_text(text(report) + "\n")
    print(text(report))


if __name__ == "__main__":
    main()
