"""Part four: following weights that change little, warm against cold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from benchmarks.problems import gaussian
from benchmarks.timing import cpu_seconds, ratio, spread

PATTERNS = ((4, 8), (8, 16), (16, 32))
CHANGES = (1e-4, 1e-3, 1e-2)
SIZE = 1024


def measure(steps: int) -> list[dict[str, Any]]:
    """One row for each n:m and change; none where nmflow has no Tracker."""
    if not hasattr(nmflow, "Tracker"):
        return []
    return [row(n, m, change, steps) for n, m in PATTERNS for change in CHANGES]


def row(n: int, m: int, change: float, steps: int) -> dict[str, Any]:
    """Milliseconds of an update and of a cold solve, on one core, over steps of a random walk.

    At each step every weight is multiplied by 1 + change * N(0, 1).
    """
    weights = gaussian(SIZE, SIZE)
    tracker: Any = nmflow.Tracker(weights.shape, n, m, workers=1)  # type: ignore[attr-defined]
    nmflow.solve(weights, n, m, workers=1)
    # The first update is cold and the second compiles what warm ones run.
    tracker.update(weights)
    tracker.update(step(weights, change, steps))
    warm, cold = [], []
    for k in range(steps):
        weights = step(weights, change, k)
        begin = cpu_seconds()
        tracked, _ = tracker.update(weights)
        middle = cpu_seconds()
        solved = nmflow.solve(weights, n, m, workers=1)
        warm.append(middle - begin)
        cold.append(cpu_seconds() - middle)
        if not np.array_equal(tracked, solved):
            raise RuntimeError(f"Tracker and solve differ at {n}:{m}, change {change}, step {k}")
    return {
        "pattern": f"{n}:{m}",
        "change": change,
        "warm_milliseconds": spread(warm, 1e3),
        "cold_milliseconds": spread(cold, 1e3),
        "speedup": ratio(cold, warm),
    }


def step(weights: NDArray[np.float32], change: float, seed: int) -> NDArray[np.float32]:
    """The weights a little later."""
    noise = np.random.default_rng([seed, 7]).standard_normal(weights.shape, np.float32)
    return weights * (1 + np.float32(change) * noise)
