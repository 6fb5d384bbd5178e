"""What a user waits for: importing, the first call, and one whole matrix.

``python -m benchmarks.startup`` runs fresh processes in turn, prints medians and writes
``benchmarks/results/startup.json``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results" / "startup.json"
REPEATS = 7

CLOCK = "import time; t = time.perf_counter()\n{}\nprint(time.perf_counter() - t)"
FIRST = "import numpy as np, nmflow; nmflow.solve(np.eye(64, dtype=np.float32), 8, 16, workers=1)"
MATRIX = """
import statistics, time, numpy as np, nmflow
rng = np.random.default_rng(0)
weights = rng.standard_normal((384, 1536)).astype(np.float32)
nmflow.solve(weights, {n}, {m}, workers=1)
times = []
for _ in range(5):
    t = time.perf_counter()
    nmflow.solve(weights, {n}, {m}, workers=1)
    times.append(time.perf_counter() - t)
print(statistics.median(times))
"""

CASES = {
    "import numpy": CLOCK.format("import numpy"),
    "import numpy, nmflow": CLOCK.format("import numpy, nmflow"),
    "import and first call, kernels cached": CLOCK.format(FIRST),
} | {
    f"384x1536 float32 at {n}:{m}, one core": MATRIX.format(n=n, m=m)
    for n, m in ((2, 4), (4, 8), (8, 16), (16, 32))
}
COLD = "import and first call, nothing cached"


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


def cold() -> float:
    """The first call with an empty cache of kernels."""
    with tempfile.TemporaryDirectory() as folder:
        return seconds(CLOCK.format(FIRST), NUMBA_CACHE_DIR=folder)


def main() -> None:
    """Measure, print and write."""
    seconds(CLOCK.format(FIRST))
    times: dict[str, list[float]] = {name: [] for name in (*CASES, COLD)}
    for _ in range(REPEATS):
        for name, code in CASES.items():
            times[name].append(seconds(code))
        times[COLD].append(cold())
    report = {
        "machine": describe(),
        "seconds": {
            name: {"median": statistics.median(t), "min": min(t), "max": max(t)}
            for name, t in times.items()
        },
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    for name, spread in report["seconds"].items():
        print(
            f"{name:45s} {spread['median']:8.3f} s  ({spread['min']:.3f} ... {spread['max']:.3f})"
        )


if __name__ == "__main__":
    main()
