"""How long a first mask takes in a fresh process: ``python -m benchmarks.startup``.

Writes ``benchmarks/results/startup.json`` and ``startup.txt``. A minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.tables import machine
from benchmarks.tables import seconds as shown
from benchmarks.timing import Spread, spread

RESULTS = Path(__file__).parent / "results"
REPEATS, COLD_REPEATS = 15, 5

CLOCK = "import time; t = time.perf_counter()\n{}\nprint(time.perf_counter() - t)"
MATRIX = "np.random.default_rng(0).standard_normal((1024, 1024), np.float32)"
FIRST = f"import numpy as np, nmflow; nmflow.solve({MATRIX}, {{n}}, {{m}})"
SECOND = f"""
import numpy as np, nmflow
matrix = {MATRIX}
nmflow.solve(matrix, 8, 16)
matrix = matrix.astype(np.float16)
""" + CLOCK.format("nmflow.solve(matrix, 4, 8)")

CASES = {
    "import numpy": CLOCK.format("import numpy"),
    "import numpy, nmflow": CLOCK.format("import numpy, nmflow"),
} | {
    f"import and first {n}:{m} mask, kernels cached": CLOCK.format(FIRST.format(n=n, m=m))
    for n, m in ((2, 4), (8, 16))
}
COLD = {
    f"import and first {n}:{m} mask, nothing cached": CLOCK.format(FIRST.format(n=n, m=m))
    for n, m in ((2, 4), (4, 8), (8, 16))
} | {"after that the first one of another n:m and dtype": SECOND}
"""Of matrices of 1024 x 1024."""


def measure() -> dict[str, Spread]:
    """Seconds of each case."""
    for code in CASES.values():
        seconds(code)
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(REPEATS):
        for name, code in CASES.items():
            times[name].append(seconds(code))
    for _ in range(COLD_REPEATS):
        for name, code in COLD.items():
            times.setdefault(name, []).append(cold(code))
    return {name: spread(t) for name, t in times.items()}


def seconds(code: str, **environment: str) -> float:
    """What the code prints, run in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    return float(done.stdout)


def cold(code: str) -> float:
    """What the code prints, with an empty cache of kernels."""
    with tempfile.TemporaryDirectory() as folder:
        return seconds(code, NUMBA_CACHE_DIR=folder)


def text(report: dict[str, Any]) -> str:
    """The table."""
    lines = [
        machine(report),
        "",
        "First calls, wall clock of fresh processes (median, min ... max)",
    ]
    for name, s in report["startup"].items():
        range_ = f"({shown(s['min'])} ... {shown(s['max'])})"
        lines.append(f"{name:50}{shown(s['median']):>9}  {range_}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    report = {"machine": describe(), "startup": measure()}
    table = text(report)
    print(table)
    (RESULTS / "startup.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "startup.txt").write_text(table + "\n")


if __name__ == "__main__":
    main()
