"""What certificates cost beside masks: ``python -m benchmarks.certify [--quick] [--out FOLDER]``.

On one core, for masks that are optimal and masks that are not, on weights of every kind: tied,
ragged, of huge range. Writes ``certify.json``, by default to ``benchmarks/results/``; with
``--quick`` it measures less and, unless told where, writes nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from benchmarks.encoder import encoder_matrices
from benchmarks.machine import describe
from benchmarks.problems import COMMON
from benchmarks.timing import interleaved, spread

RESULTS = Path(__file__).parent / "results"
_LARGE, _SMALL = (1536, 384), (384, 384)
# Rows of the weights whose masks take long.
_FEW = 192

Weights = Callable[[], NDArray[Any]]


def minilm(shape: tuple[int, int]) -> NDArray[np.float32]:
    """The first of MiniLM's encoder matrices of that shape."""
    return next(matrix for matrix in encoder_matrices() if matrix.shape == shape)


def minilm_ragged(shape: tuple[int, int]) -> NDArray[np.float32]:
    """The same, less its last row and column."""
    return minilm(shape)[:-1, :-1].copy()


def minilm_bfloat16(shape: tuple[int, int]) -> NDArray[Any]:
    """The same, rounded to bfloat16."""
    import ml_dtypes

    return minilm(shape).astype(ml_dtypes.bfloat16)


def random(shape: tuple[int, int], draw: Callable[[Any, Any], Any]) -> NDArray[Any]:
    """Weights drawn by a function of a generator and a shape."""
    values: NDArray[Any] = draw(np.random.default_rng(0), shape)
    return values


def _floats(rng: Any, shape: Any, below: int) -> Any:
    return rng.integers(0, below, shape).astype(np.float32)


KINDS: dict[str, Weights] = {
    "MiniLM 1536 x 384 float32": partial(minilm, _LARGE),
    "MiniLM 384 x 384 float32": partial(minilm, _SMALL),
    "MiniLM 1536 x 384 bfloat16": partial(minilm_bfloat16, _LARGE),
    "MiniLM 384 x 384 bfloat16": partial(minilm_bfloat16, _SMALL),
    "N(0, 1) float64": partial(random, _SMALL, lambda rng, shape: rng.standard_normal(shape)),
    "binary": partial(random, _SMALL, partial(_floats, below=2)),
    "integers 0..3": partial(random, _SMALL, partial(_floats, below=4)),
    "zero": partial(np.zeros, _SMALL, np.float32),
    "constant": partial(np.full, _SMALL, 0.1, np.float32),
    "ragged, 1535 x 383": partial(minilm_ragged, _LARGE),
    "36 decades": partial(
        random, (_FEW, 384), lambda rng, shape: 10.0 ** rng.uniform(-18, 18, shape)
    ),
}
# Masks that are far from optimal, of the first kind of weights.
WORSE = ("greedy", "greedy-keep")


def measure(kind: str, n: int, m: int, rounds: int) -> dict[str, Any]:
    """Microseconds a tile of ``solve`` and of certifying each mask, and multiples of ``solve``."""
    weights = KINDS[kind]()
    masks = {"optimal": nmflow.solve(weights, n, m)}
    if kind == next(iter(KINDS)):
        masks |= {name: nmflow.solve(weights, n, m, name) for name in WORSE}
    calls: dict[str, Callable[[], Any]] = {"solve": partial(nmflow.solve, weights, n, m, workers=1)}
    for name, mask in masks.items():
        call = partial(nmflow.certify, weights, mask, n, m, workers=1)
        certificate = call()
        if certificate.optimal != (name == "optimal"):
            raise RuntimeError(f"the {name} mask of {kind} at {n}:{m} is called otherwise")
        calls[f"certify {name}"] = call
    calls["solve with prices"] = partial(nmflow.solve_with_prices, weights, n, m, workers=1)
    # As training does, which holds a tracker for each weight.
    tracker = nmflow.Tracker(weights.shape, n, m)
    tracker.refresh(weights)
    known = {"prices": calls["solve with prices"]().prices, "a tracker's prices": tracker.prices}
    for name, prices in known.items():
        calls[f"certify with {name}"] = partial(
            nmflow.certify, weights, masks["optimal"], n, m, prices=prices, workers=1
        )
    rows, columns = weights.shape
    tiles = -(-rows // m) * -(-columns // m)
    times = interleaved(calls, "solve", rounds)
    return {
        name: {
            "microseconds": spread(each.seconds, 1e6 / tiles),
            "times_solve": statistics.median(each.ratios or [1.0]),
        }
        for name, each in times.items()
    }


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description="Time certificates beside masks.")
    parser.add_argument("--quick", action="store_true", help="about a minute's look")
    parser.add_argument("--out", type=Path, help=f"folder (default: {RESULTS}; --quick: none)")
    options = parser.parse_args()
    rounds = 3 if options.quick else 15
    report: dict[str, Any] = {"machine": describe(), "rounds": rounds, "certify": {}}
    for n, m in COMMON:
        for kind in KINDS:
            found = measure(kind, n, m, rounds)
            report["certify"].setdefault(f"{n}:{m}", {})[kind] = found
            for name, row in found.items():
                micro = row["microseconds"]["median"]
                print(f"{n}:{m:<3} {kind:28} {name:20} {micro:9.3f} us {row['times_solve']:6.1f} x")
    folder = options.out or (None if options.quick else RESULTS)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "certify.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
