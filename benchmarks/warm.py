"""Part three: following weights that change little, warm against cold."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from benchmarks.problems import gaussian
from benchmarks.timing import cpu_seconds, spread

PATTERNS = ((4, 8), (8, 16), (16, 32))
CHANGES = (1e-4, 1e-3, 1e-2)
SIZE = 1024


def measure(steps: int) -> list[dict[str, Any]]:
    """One row for each n:m and change; none where nmflow has no Tracker."""
    new_tracker = getattr(nmflow, "Tracker", None)
    if new_tracker is None:
        return []
    return [row(new_tracker, n, m, change, steps) for n, m in PATTERNS for change in CHANGES]


def row(new_tracker: Any, n: int, m: int, change: float, steps: int) -> dict[str, Any]:
    """Milliseconds of an update and of a cold solve, on one core, over steps of a random walk.

    At each step every weight is multiplied by 1 + change * N(0, 1).
    """
    weights = gaussian(SIZE, SIZE)
    tracker = new_tracker(weights.shape, n, m, workers=1)
    nmflow.solve(weights, n, m, workers=1)
    # The first update is cold and the second compiles what warm ones run.
    tracker.update(weights)
    weights = step(weights, change, steps)
    tracker.update(weights)
    times: dict[str, list[float]] = {"warm": [], "cold": []}
    for k in range(steps):
        weights = step(weights, change, k)
        calls: dict[str, Any] = {
            "warm": lambda w=weights: tracker.update(w)[0],
            "cold": partial(nmflow.solve, weights, n, m, workers=1),
        }
        # Whichever comes first finds caches and memory as neither left them.
        expected = calls["cold"]()
        for name in ("warm", "cold") if k % 2 else ("cold", "warm"):
            begin = cpu_seconds()
            mask = calls[name]()
            times[name].append(cpu_seconds() - begin)
            if not np.array_equal(mask, expected):
                raise RuntimeError(f"{name} mask differs at {n}:{m}, change {change}, step {k}")
            del mask
    ratios = [c / w for c, w in zip(times["cold"], times["warm"], strict=True)]
    return {
        "pattern": f"{n}:{m}",
        "change": change,
        "warm_milliseconds": spread(times["warm"], 1e3),
        "cold_milliseconds": spread(times["cold"], 1e3),
        "speedup": statistics.median(ratios),
    }


def step(weights: NDArray[np.float32], change: float, seed: int) -> NDArray[np.float32]:
    """The weights a little later."""
    noise = np.random.default_rng([seed, 7]).standard_normal(weights.shape, np.float32)
    return weights * (1 + np.float32(change) * noise)
