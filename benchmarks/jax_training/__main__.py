"""Train all runs, time refreshes, put it together: ``python -m benchmarks.jax_training``.

Writes ``jax_training.json`` and ``jax_training.txt`` to ``benchmarks/results/``. Each training
leaves its record in ``benchmarks/results/jax_training/`` as soon as it is done, so that the same
command goes on after an interruption; ``--fresh`` makes all anew. With ``--quick`` it trains little
and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax

from benchmarks.jax_training.timing import measure
from benchmarks.jax_training.train import DENSE, RUNS, Run, Setting, train
from benchmarks.machine import describe
from benchmarks.training.store import Store, write
from benchmarks.training.summary import spread

RESULTS = Path(__file__).parents[1] / "results"
SEEDS, DENSE_SEEDS = 3, 4
WIDTHS = (64,)
ROUNDS = 9


def run(setting: Setting, seeds: tuple[int, int], rounds: int, store: Store) -> dict[str, Any]:
    """The report; progress goes to standard error."""
    begin = time.perf_counter()
    rows = {}
    for each in RUNS:
        records = []
        for seed in range(seeds[1] if each == DENSE else seeds[0]):
            key = {"task": "jax", "run": each.name, "seed": seed, "setting": asdict(setting)}
            records.append(store.made(key, lambda: train(each, seed, setting)))  # noqa: B023
            found = f"{each.name}, seed {seed}: {records[-1]['bits_per_byte']:.4f} bits per byte"
            print(f"{time.perf_counter() - begin:6.0f} s  {found}", file=sys.stderr, flush=True)
        rows[each.name] = row(each, records)
    worst = rows[DENSE.name]["max"]
    for found in rows.values():
        found["within_dense"] = found["mean"] <= worst
    timing = [measure(RUNS[1], replace(setting, width=width), rounds) for width in WIDTHS]
    return {
        "machine": {**describe(), "jax": jax.__version__},
        "setting": asdict(setting),
        "runs": rows,
        "timing": [{"width": width} | each for width, each in zip(WIDTHS, timing, strict=True)],
    }


def row(run: Run, records: list[dict[str, Any]]) -> dict[str, Any]:
    """All seeds of a run; refreshes of the first alone."""
    finals = [record["bits_per_byte"] for record in records]
    masks = [record["masks"] for record in records if record["masks"]]
    return {
        **asdict(run),
        "values": finals,
        **spread(finals),
        "losses": [record["losses"] for record in records],
        "largest_gap": max((mask["largest_gap"] for mask in masks), default=None),
        "tiles": sum(mask["tiles"] for mask in masks),
        "optimal_tiles": sum(mask["optimal_tiles"] for mask in masks),
        "masks": masks[0] if masks else None,
    }


def text(report: dict[str, Any]) -> str:
    """The report as tables."""
    setting = report["setting"]
    machine = report["machine"]
    head = "bits per byte held out           mean   spread    least     most  seeds  within  gap"
    lines = [
        f"{machine['processor']}, {machine['cores']} cores; jax {machine['jax']}.",
        "",
        "Transformer on the bytes of the standard library's source, in Flax Linen; "
        + ", ".join(f"{name} {value:g}" for name, value in setting.items())
        + ".",
        "Within: whether the mean is at least as good as the worst dense seed. Gap: the largest of",
        "all layers and seeds after the last refresh, certified.",
        "",
        head,
    ]
    for name, found in report["runs"].items():
        gap = "" if found["largest_gap"] is None else f"{found['largest_gap']:g}"
        numbers = " ".join(f"{found[key]:8.4f}" for key in ("mean", "deviation", "min", "max"))
        within = "yes" if found["within_dense"] else "no"
        lines.append(f"{name:27s} {numbers} {len(found['values']):6d} {within:>7s} {gap:>4s}")
    lines += [
        "",
        f"Refreshes of 8:16 every {report['timing'][0]['every']} steps against the same programme"
        " without, in turn, medians of processor time",
    ]
    lines += [
        f"width {each['width']:4d}: {100 * each['refresh_share']:5.2f} % of the time;"
        f" {1e3 * each['step_seconds']:.2f} ms a step"
        for each in report["timing"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Train, print, and write where asked."""
    parser = argparse.ArgumentParser(description="Train a transformer under masks in JAX.")
    parser.add_argument("--quick", action="store_true", help="few steps, nothing is written")
    parser.add_argument("--fresh", action="store_true", help="forget all records first")
    options = parser.parse_args()
    records = RESULTS / "jax_training"
    if options.fresh:
        shutil.rmtree(records, ignore_errors=True)
    if options.quick:
        setting, seeds, rounds = Setting(steps=200), (1, 1), 3
    else:
        setting, seeds, rounds = Setting(), (SEEDS, DENSE_SEEDS), ROUNDS
    report = run(setting, seeds, rounds, Store(records))
    print(text(report))
    if not options.quick:
        write(RESULTS / "jax_training.json", json.dumps(report, separators=(",", ":")) + "\n")
        write(RESULTS / "jax_training.txt", text(report) + "\n")


if __name__ == "__main__":
    main()
