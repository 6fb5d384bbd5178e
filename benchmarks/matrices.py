"""Part two: whole matrices, their wall clock on one and two workers, and what memory it takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import Any

import nmflow
from benchmarks.problems import gaussian
from benchmarks.timing import interleaved, spread

N, M = 8, 16
SIZES = (512, 1024, 2048, 4096, 8192)

MEMORY = """
import sys
import numpy as np, nmflow
from benchmarks.problems import gaussian

def resident(kind):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(kind))

size, workers = map(int, sys.argv[1:])
nmflow.solve(gaussian(256, 256), {n}, {m}, workers=workers)
weights = gaussian(size, size)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts anew from here
before = resident("VmRSS")
mask = nmflow.solve(weights, {n}, {m}, workers=workers)
print(resident("VmHWM") - before - mask.nbytes)
"""


def measure(largest: int, rounds: int) -> list[dict[str, Any]]:
    """One row a size: milliseconds for each number of workers, and peak memory."""
    counts = [1, 2] if (os.cpu_count() or 1) > 1 else [1]
    rows = []
    for size in (s for s in SIZES if s <= largest):
        weights = gaussian(size, size)
        calls = {str(k): partial(nmflow.solve, weights, N, M, workers=k) for k in counts}
        for call in calls.values():
            call()
        times = interleaved(calls, "1", rounds, clock=time.perf_counter)
        two = times[str(counts[-1])].ratios
        rows.append(
            {
                "size": size,
                "milliseconds": {k: spread(t.seconds, 1e3) for k, t in times.items()},
                "speedup": 1 / statistics.median(two) if two else 1,
                "bytes_beyond": {str(k): memory(size, k) for k in counts},
                "bytes_weights": weights.nbytes,
            }
        )
    return rows


def memory(size: int, workers: int) -> int | None:
    """Peak bytes beyond weights and mask, after a warm-up, in a fresh process; None off Linux."""
    if sys.platform != "linux":
        return None
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(n=N, m=M), str(size), str(workers)],
        capture_output=True,
        text=True,
        check=True,
    )
    return max(int(done.stdout), 0)
