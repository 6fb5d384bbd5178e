"""What each method loses against the certified optimum: ``python -m benchmarks.losses``.

Writes ``benchmarks/results/losses.json``, which ``notebooks/01_solver_quality.ipynb`` shows: for
every method, on real and synthetic weights, the distribution of its loss over tiles, its share of
optimal tiles and of tiles not full, and its time on one core. Takes a minute or two.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from benchmarks.encoder import encoder_sample
from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results" / "losses.json"
PATTERNS = ((2, 4), (4, 8), (8, 16), (16, 32))
REPEATS = 5
# Weights given to the one method that takes milliseconds a tile.
LP_WEIGHTS = {4: 1024, 8: 16384, 16: 16384, 32: 32768}
# Per cent of the tiles that lose no more than each value written.
PERCENTILES = (*range(100), 99.5, 99.9, 100)


def weights_by_kind() -> dict[str, NDArray[np.float32]]:
    """Real weights, and synthetic ones with light and with heavy tails, of one shape."""
    real = encoder_sample()
    rng = np.random.default_rng(0)
    return {
        "MiniLM": real,
        "N(0, 1)": rng.standard_normal(real.shape, np.float32),
        "Student t(3)": rng.standard_t(3, real.shape).astype(np.float32),
    }


def tiles_of(matrix: NDArray[Any], m: int) -> NDArray[Any]:
    """The m x m tiles of a matrix, shape (T, m, m)."""
    rows, columns = matrix.shape
    blocks = matrix.reshape(rows // m, m, columns // m, m).swapaxes(1, 2)
    tiles: NDArray[Any] = blocks.reshape(-1, m, m)
    return tiles


def sample_for(name: str, weights: NDArray[np.float32], m: int) -> NDArray[np.float32]:
    """All weights, or for a slow method a few rows of tiles from all over them."""
    if name != "lp":
        return weights
    tiles = tiles_of(weights, m)
    count = LP_WEIGHTS[m] // m**2
    some = tiles[np.arange(count) * len(tiles) // count]
    return np.ascontiguousarray(some.swapaxes(0, 1).reshape(m, -1))


def quality(
    weights: NDArray[np.float32],
    mask: NDArray[np.bool_],
    optimum: NDArray[np.bool_],
    n: int,
    m: int,
) -> dict[str, Any]:
    """Losses against the optimum, as shares of its score, and shares of tiles."""
    scores = np.abs(tiles_of(weights, m)).astype(np.float64)
    held, best = tiles_of(mask, m), tiles_of(optimum, m)
    # The sum of what differs, so that equal masks lose exactly nothing.
    lost = (scores * (best.astype(np.int8) - held)).sum(axis=(1, 2))
    loss = lost / (scores * best).sum(axis=(1, 2))
    # Other masks of the same score differ by rounding alone.
    loss[np.abs(loss) < 1e-14] = 0
    full = ((held.sum(axis=1) == n) & (held.sum(axis=2) == n)).all(axis=1)
    return {
        "tiles": len(loss),
        "mean_loss": float(loss.mean()),
        "worst_loss": float(loss.max()),
        "optimal": float((full & (loss == 0)).mean()),
        "not_full": float(1 - full.mean()),
        "percentiles": [float(f"{x:.4g}") for x in np.percentile(loss, PERCENTILES)],
    }


def certified_optimum(weights: NDArray[np.float32], n: int, m: int) -> NDArray[np.bool_]:
    """The mask of ``flow``; that it is optimal is proved by code that it shares nothing with."""
    mask: NDArray[np.bool_] = nmflow.solve(weights, n, m, workers=1)
    if not nmflow.certify(weights, mask, n, m).optimal:
        raise RuntimeError(f"no optimum at {n}:{m}")
    return mask


def measure(weights: NDArray[np.float32], n: int, m: int) -> dict[str, dict[str, Any]]:
    """All methods at one n:m, their repeats in turn."""
    names = [x.name for x in nmflow.methods() if x.name != "exhaustive" or m <= 4]
    samples = {name: sample_for(name, weights, m) for name in names}
    optimum = certified_optimum(weights, n, m)
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        mask = nmflow.solve(samples[name], n, m, name, workers=1)
        best = optimum if name != "lp" else certified_optimum(samples[name], n, m)
        rows[name] = quality(samples[name], mask, best, n, m)
    times: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(REPEATS):
        for name in names:
            if name == "lp" and repeat:
                continue
            begin = time.perf_counter()
            nmflow.solve(samples[name], n, m, name, workers=1)
            times[name].append(time.perf_counter() - begin)
    for name, row in rows.items():
        row["microseconds"] = float(f"{1e6 * statistics.median(times[name]) / row['tiles']:.4g}")
    return rows


def main() -> None:
    """Measure, print and write."""
    results: dict[str, Any] = {}
    for kind, weights in weights_by_kind().items():
        results[kind] = {}
        for n, m in PATTERNS:
            results[kind][f"{n}:{m}"] = rows = measure(weights, n, m)
            print(f"\n{kind}, {n}:{m}")
            for name, row in rows.items():
                shares = (row[k] for k in ("mean_loss", "worst_loss", "optimal", "not_full"))
                print(
                    f"{name:16s}{row['microseconds']:10.3f} us/tile"
                    + "".join(f"{100 * x:11.4f} %" for x in shares)
                )
    report = {"machine": describe(), "percentiles": PERCENTILES, "results": results}
    RESULTS.write_text(json.dumps(report, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
