"""Train all runs, time refreshes, put it together: ``python -m benchmarks.jax_training``.

Each plan of :data:`PLANS` is written to ``benchmarks/results/`` under its name, as JSON and as
text; ``--plan NAME`` takes one alone. Each training leaves its record in
``benchmarks/results/jax_training/`` as soon as it is done, so that the same command goes on after
an interruption; ``--fresh`` makes all anew, and ``--done`` reports what there are records of, and
neither trains nor times. With ``--quick`` it trains little and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax

from benchmarks.jax_training.timing import measure
from benchmarks.jax_training.train import CHUNK, DENSE, RECIPES, RUNS, Run, Setting, train
from benchmarks.machine import describe
from benchmarks.training.store import Store, write
from benchmarks.training.summary import spread
from benchmarks.training.task import Held

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Plan:
    """What is trained, and how often.

    Attributes
    ----------
    name : str
        Of the files.
    note : str
        What the setting is, in a line.
    setting : Setting
    runs : tuple of Run
    seeds, dense_seeds : int
        How many, from ``first`` on.
    first : int
    held : {"tune", "test"}
    rounds : int
        Of the timing; 0: none.
    """

    name: str
    note: str
    setting: Setting
    runs: tuple[Run, ...] = RUNS
    seeds: int = 3
    dense_seeds: int = 4
    first: int = 0
    held: Held = "test"
    rounds: int = 9


PLANS = (
    Plan(
        "jax_training",
        "The model and the setting of benchmarks.training, which chose it for the dense run.",
        Setting(width=128, layers=4, steps=800),
    ),
    Plan("jax_training_small", "A smaller model, trained longer.", Setting()),
    Plan(
        "jax_training_recipes",
        "What else was tried, on the smaller model and what is held out for tuning.",
        Setting(),
        RECIPES,
        **{"seeds": 1, "dense_seeds": 1, "first": 10, "held": "tune", "rounds": 0},
    ),
)


def run(plan: Plan, store: Store, done: bool = False) -> dict[str, Any]:
    """The report, or that of what is ``done``; progress goes to standard error."""
    begin = time.perf_counter()
    setting, rows = plan.setting, {}
    for each in plan.runs:
        records = []
        count = plan.dense_seeds if each == DENSE else plan.seeds
        for seed in range(plan.first, plan.first + count):
            key = {
                **{"task": "jax", "run": each.name, "seed": seed, "held": plan.held},
                **{"masks": asdict(each), "setting": asdict(setting)},
            }
            if done and store.load(key) is None:
                continue
            records.append(store.made(key, lambda: train(each, seed, setting, plan.held)))  # noqa: B023
            found = f"{each.name}, seed {seed}: {records[-1]['bits_per_byte']:.4f} bits per byte"
            print(f"{time.perf_counter() - begin:6.0f} s  {found}", file=sys.stderr, flush=True)
        if records:
            rows[each.name] = row(each, records)
    dense = rows.get(DENSE.name)
    for found in rows.values():
        found["within_dense"] = None if dense is None else found["mean"] <= dense["max"]
    timed = [
        each for each in plan.runs if each.m and each.every == CHUNK and plan.rounds and not done
    ]
    return {
        "machine": {**describe(), "jax": jax.__version__},
        "note": plan.note,
        "held": plan.held,
        "setting": asdict(setting),
        "runs": rows,
        "timing": [
            {"width": setting.width} | measure(each, setting, plan.rounds) for each in timed
        ],
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
    held = {"test": "held out", "tune": "for tuning"}[report["held"]]
    names = ("mean", "spread", "least", "most")
    head = f"{f'bits per byte {held}':38s} {' '.join(f'{name:>8s}' for name in names)}"
    lines = [
        f"{machine['processor']}, {machine['cores']} cores; jax {machine['jax']}.",
        "",
        "Transformer on the bytes of the standard library's source, in Flax Linen; "
        + ", ".join(f"{name} {value:g}" for name, value in setting.items())
        + ".",
        report["note"],
        "Within: whether the mean is at least as good as the worst dense seed. Gap: the largest of",
        "all layers and seeds after the last refresh, certified.",
        "",
        f"{head}  seeds  within  gap",
    ]
    for name, found in report["runs"].items():
        gap = "" if found["largest_gap"] is None else f"{found['largest_gap']:g}"
        numbers = " ".join(f"{found[key]:8.4f}" for key in ("mean", "deviation", "min", "max"))
        within = {True: "yes", False: "no", None: ""}[found["within_dense"]]
        lines.append(f"{name:38s} {numbers} {len(found['values']):6d} {within:>7s} {gap:>4s}")
    for each in report["timing"]:
        lines += [
            "",
            f"Refreshes of {each['pattern']} every {each['every']} steps against the same programme"
            " without, in turn, medians of processor time",
            f"width {each['width']:4d}: {100 * each['refresh_share']:5.2f} % of the time;"
            f" {1e3 * each['step_seconds']:.2f} ms a step",
        ]
    return "\n".join(lines)


def main() -> None:
    """Train, print, and write where asked."""
    parser = argparse.ArgumentParser(description="Train a transformer under masks in JAX.")
    parser.add_argument("--quick", action="store_true", help="few steps, nothing is written")
    parser.add_argument("--fresh", action="store_true", help="forget all records first")
    parser.add_argument("--done", action="store_true", help="train nothing, report what is done")
    parser.add_argument("--plan", choices=[plan.name for plan in PLANS], help="this one alone")
    options = parser.parse_args()
    records = RESULTS / "jax_training"
    if options.fresh:
        shutil.rmtree(records, ignore_errors=True)
    for plan in PLANS:
        if options.plan not in (None, plan.name):
            continue
        if options.quick:
            little = replace(plan.setting, steps=200)
            plan = replace(plan, setting=little, seeds=1, dense_seeds=1, rounds=min(3, plan.rounds))
        report = run(plan, Store(records), options.done)
        print(text(report))
        if not options.quick:
            write(RESULTS / f"{plan.name}.json", json.dumps(report, separators=(",", ":")) + "\n")
            write(RESULTS / f"{plan.name}.txt", text(report) + "\n")


if __name__ == "__main__":
    main()
