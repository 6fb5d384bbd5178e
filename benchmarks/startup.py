"""Part three: what a user waits for before the first mask, in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from benchmarks.timing import Spread, spread

CLOCK = "import time; t = time.perf_counter()\n{}\nprint(time.perf_counter() - t)"
FIRST = "import numpy as np, nmflow; nmflow.solve(np.eye({m}, dtype=np.float32), {n}, {m})"

CASES = {
    "import numpy": CLOCK.format("import numpy"),
    "import numpy, nmflow": CLOCK.format("import numpy, nmflow"),
} | {
    f"import and first {n}:{m} mask, kernels cached": CLOCK.format(FIRST.format(n=n, m=m))
    for n, m in ((2, 4), (8, 16))
}
COLD = "import and first 8:16 mask, nothing cached"


def measure(repeats: int, cold_repeats: int) -> dict[str, Spread]:
    """Seconds of each case."""
    for code in CASES.values():
        seconds(code)
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(repeats):
        for name, code in CASES.items():
            times[name].append(seconds(code))
    if cold_repeats:
        times[COLD] = [cold() for _ in range(cold_repeats)]
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


def cold() -> float:
    """The first call with an empty cache of kernels."""
    with tempfile.TemporaryDirectory() as folder:
        return seconds(CLOCK.format(FIRST.format(n=8, m=16)), NUMBA_CACHE_DIR=folder)
