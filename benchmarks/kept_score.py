"""Kept score of real weights beside mask diversity: ``python -m benchmarks.kept_score``.

Writes ``benchmarks/results/kept_score.json``, for ``notebooks/02_mask_diversity.ipynb``: for every
n:m and pattern the share of the score that the best mask keeps of MiniLM's 36 encoder matrices, and
how many masks the pattern allows. Takes half a minute.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np

import nmflow
from benchmarks.encoder import encoder_matrices
from nmflow.problem.pattern import PatternName

RESULTS = Path(__file__).parent / "results" / "kept_score.json"
PATTERNS = (
    *((1, 4), (2, 8), (4, 16), (8, 32)),
    *((1, 2), (2, 4), (4, 8), (8, 16), (16, 32)),
)


def diversity(n: int, m: int, pattern: PatternName, shape: tuple[int, ...]) -> tuple[float, str]:
    """log10 of the number of masks per weight, and the method that found it."""
    # 16:32 is out of exact reach; the asymptotic count is within a thousandth there.
    exact = pattern != "transposable" or m < 32 or n <= 9
    method: Any = "exact" if exact else "asymptotic"
    log10 = nmflow.log10_mask_diversity(n, m, pattern, shape=shape, method=method)
    return log10 / math.prod(shape), method


def measure(n: int, m: int, pattern: PatternName) -> dict[str, Any]:
    """One pattern on all matrices."""
    kept, total, shares = 0.0, 0.0, []
    for weights in encoder_matrices():
        mask = nmflow.solve(weights, n, m, pattern=pattern, workers=1)
        scores = np.abs(weights).astype(np.float64)
        ours, all_ = float(scores[mask].sum()), float(scores.sum())
        kept, total = kept + ours, total + all_
        shares.append(ours / all_)
    # The pattern repeats tile by tile; only the unstructured one depends on the matrix's size.
    per_weight, method = diversity(n, m, pattern, (384, 1536))
    return {
        "n": n,
        "m": m,
        "pattern": pattern,
        "log10_per_weight": per_weight,
        "method": method,
        "kept": kept / total,
        "kept_by_matrix": [float(f"{share:.6g}") for share in shares],
    }


def main() -> None:
    """Measure, print and write."""
    rows = []
    for n, m in PATTERNS:
        for pattern in get_args(PatternName):
            rows.append(row := measure(n, m, pattern))
            print(
                f"{f'{n}:{m}':6s}{pattern:14s}log10 of masks per weight"
                f" {row['log10_per_weight']:.5f} ({row['method']}), kept {100 * row['kept']:.3f} %"
            )
    report = {"weights": "MiniLM, 36 encoder matrices", "rows": rows}
    RESULTS.write_text(json.dumps(report, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
