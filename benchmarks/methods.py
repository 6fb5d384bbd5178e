"""Every method on real weights: time, loss, share of optimal tiles, share of tiles not full.

``python -m benchmarks.methods`` prints a table and writes ``benchmarks/results/methods.json``. The
weights are the 36 encoder matrices of MiniLM; one core; medians of interleaved repeats. The slow
methods and the peers, OR-tools and NetworkX, get a sample of tiles of their own size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import numpy as np
from numpy.typing import NDArray
from ortools.graph.python import min_cost_flow

import nmflow
from benchmarks.machine import describe
from benchmarks.weights import minilm_matrices, tiles_of

RESULTS = Path(__file__).parent / "results" / "methods.json"
PATTERNS = ((2, 4), (4, 8), (8, 16), (16, 32))
# Tiles given to what is too slow for all of them.
SAMPLE = {"lp": 256, "ortools": 512, "networkx": 24}
ORTOOLS_BITS = 30

Solver = Callable[[list[NDArray[Any]], int, int], list[NDArray[np.bool_]]]


def ours(name: str) -> Solver:
    """A method of nmflow on one core, whole calls."""

    def run(matrices: list[NDArray[Any]], n: int, m: int) -> list[NDArray[np.bool_]]:
        return [nmflow.solve(weights, n, m, name, workers=1) for weights in matrices]

    return run


def ortools(matrices: list[NDArray[Any]], n: int, m: int) -> list[NDArray[np.bool_]]:
    """OR-tools' SimpleMinCostFlow, the graph built with its array calls, then solved."""
    tails = np.concatenate(
        [np.zeros(m, int), np.repeat(np.arange(1, m + 1), m), m + 1 + np.arange(m)]
    )
    heads = np.concatenate(
        [1 + np.arange(m), np.tile(m + 1 + np.arange(m), m), np.full(m, 2 * m + 1)]
    )
    capacity = np.concatenate([np.full(m, n), np.ones(m * m, int), np.full(m, n)])
    masks = []
    for weights in matrices:
        mask = np.empty(weights.shape, bool)
        for tile, place in tiles_of(weights, m):
            magnitudes = np.abs(tile)
            unit = 2.0**ORTOOLS_BITS / magnitudes.max()
            cost = np.zeros(tails.size, np.int64)
            cost[m : m + m * m] = -np.round(magnitudes.ravel() * unit)
            graph = min_cost_flow.SimpleMinCostFlow()
            arcs = graph.add_arcs_with_capacity_and_unit_cost(tails, heads, capacity, cost)
            graph.set_node_supply(0, n * m)
            graph.set_node_supply(2 * m + 1, -n * m)
            if graph.solve() != graph.OPTIMAL:
                raise RuntimeError("OR-tools found no optimum")
            mask[place] = graph.flows(arcs)[m : m + m * m].reshape(m, m)
        masks.append(mask)
    return masks


def networkx_flow(matrices: list[NDArray[Any]], n: int, m: int) -> list[NDArray[np.bool_]]:
    """NetworkX, as in the paper's code; on integers, because it may not end on floats."""
    masks = []
    for weights in matrices:
        mask = np.empty(weights.shape, bool)
        for tile, place in tiles_of(weights, m):
            scores = np.round(np.abs(tile) * (2.0**ORTOOLS_BITS / np.abs(tile).max())).astype(int)
            graph = networkx.DiGraph()
            graph.add_node("s", demand=-n * m)
            graph.add_node("t", demand=n * m)
            for i in range(m):
                graph.add_edge("s", ("r", i), capacity=n, weight=0)
                graph.add_edge(("c", i), "t", capacity=n, weight=0)
                for j in range(m):
                    graph.add_edge(("r", i), ("c", j), capacity=1, weight=-int(scores[i, j]))
            flow = networkx.min_cost_flow(graph)
            mask[place] = [[flow["r", i]["c", j] for j in range(m)] for i in range(m)]
        masks.append(mask)
    return masks


def sample(matrices: list[NDArray[Any]], m: int, count: int) -> list[NDArray[Any]]:
    """Tiles spread over all matrices, side by side."""
    tiles = [tile for weights in matrices for tile, _ in tiles_of(weights, m)]
    step = len(tiles) / count
    return [np.concatenate([tiles[int(k * step)] for k in range(count)], axis=1)]


def quality(matrices: Any, masks: Any, optima: Any, n: int, m: int) -> dict[str, float]:
    """Losses against the optimum, and shares of tiles, over all tiles."""
    loss, same, full = [], [], []
    for weights, mask, optimum in zip(matrices, masks, optima, strict=True):
        scores = np.abs(weights).astype(np.float64)
        kept, best = (block_sums(scores * x, m) for x in (mask, optimum))
        loss.append(1 - kept / best)
        same.append((block_sums(mask != optimum, m) == 0) | (np.abs(kept - best) < 1e-14 * best))
        rows, columns = mask.shape
        by_row = mask.reshape(rows // m, m, columns // m, m).sum(axis=3)
        by_column = mask.reshape(rows // m, m, columns // m, m).sum(axis=1)
        full.append((by_row == n).all(axis=1) & (by_column == n).all(axis=2))
    losses = np.concatenate([x.ravel() for x in loss])
    return {
        "mean_loss": float(losses.mean()),
        "worst_loss": float(losses.max()),
        "optimal": float(np.concatenate([x.ravel() for x in same]).mean()),
        "not_full": 1 - float(np.concatenate([x.ravel() for x in full]).mean()),
    }


def block_sums(values: NDArray[Any], m: int) -> NDArray[Any]:
    """Sums over the m x m tiles of a matrix."""
    rows, columns = values.shape
    return values.reshape(rows // m, m, columns // m, m).sum(axis=(1, 3))


def measure(n: int, m: int, repeats: int) -> dict[str, dict[str, float]]:
    """All methods at one n:m, their runs interleaved."""
    everything = minilm_matrices()
    solvers: dict[str, Solver] = {method.name: ours(method.name) for method in nmflow.methods()}
    if m > 4:
        del solvers["exhaustive"]
    solvers |= {"ortools": ortools, "networkx": networkx_flow}
    inputs = {
        name: sample(everything, m, SAMPLE[name]) if name in SAMPLE else everything
        for name in solvers
    }
    masks = {name: solve(inputs[name], n, m) for name, solve in solvers.items()}
    times: dict[str, list[float]] = {name: [] for name in solvers}
    for _ in range(repeats):
        for name, solve in solvers.items():
            begin = time.perf_counter()
            solve(inputs[name], n, m)
            times[name].append(time.perf_counter() - begin)
    rows = {}
    for name in solvers:
        tiles = sum(weights.size for weights in inputs[name]) / m**2
        spent = [1e6 * t / tiles for t in times[name]]
        optima = ours("flow")(inputs[name], n, m)
        rows[name] = {
            "microseconds": statistics.median(spent),
            "fastest": min(spent),
            "slowest": max(spent),
            "tiles": tiles,
        } | quality(inputs[name], masks[name], optima, n, m)
    for row in rows.values():
        row["times_ortools"] = rows["ortools"]["microseconds"] / row["microseconds"]
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": describe(),
        "weights": "MiniLM, 36 encoder matrices, float32",
    }
    report["results"] = {f"{n}:{m}": measure(n, m, options.repeats) for n, m in PATTERNS}
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    heads = ("us/tile", "x OR-tools", "mean loss", "worst", "optimal", "not full")
    for pattern, rows in report["results"].items():
        print(f"\n{pattern:18s}" + "".join(f"{head:>12s}" for head in heads))
        for name, row in rows.items():
            print(
                f"{name:18s}{row['microseconds']:12.3f}{row['times_ortools']:12.2f}"
                + "".join(
                    f"{100 * row[key]:11.4f}%"
                    for key in ("mean_loss", "worst_loss", "optimal", "not_full")
                )
            )


if __name__ == "__main__":
    main()
