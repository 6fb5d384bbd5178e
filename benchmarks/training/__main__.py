"""Train all runs, time steps, put it together: ``python -m benchmarks.training``.

Writes ``training.json`` and ``training.txt`` to ``benchmarks/results/``. Each training leaves its
record in ``benchmarks/results/training/`` as soon as it is done, and what has a record is not
trained again: after an interruption the same command goes on. Records know the code of this
folder, not that of nmflow: ``--fresh`` makes all anew. With ``--quick`` it trains little and,
unless told where, writes nothing but records.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.training.jobs import FULL, QUICK, Job, Plan, jobs, perform_all, source
from benchmarks.training.store import Store, write
from benchmarks.training.summary import summarise
from benchmarks.training.tables import text
from benchmarks.training.tasks import TASKS

RESULTS = Path(__file__).parents[1] / "results"


def run(names: list[str], plan: Plan, records: Path, workers: int) -> dict[str, Any]:
    """The report; progress goes to standard error."""
    begin = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - begin:6.0f} s  {what}", file=sys.stderr, flush=True)

    todo = {name: jobs(TASKS[name], plan) for name in names}
    # The longest first, so that no core is left alone with them at the end.
    for stage in (0, 1):
        together: list[Job] = [job for name in reversed(names) for job in todo[name][stage]]
        perform_all(together, records, workers, say)
    report: dict[str, Any] = {"machine": describe(), "tasks": {}}
    store = Store(records)
    for name in names:
        say(f"timing {name}")
        timing = _timed(name, plan, store)
        first, then = todo[name]
        report["tasks"][name] = {**summarise(TASKS[name], first + then, store), "timing": timing}
    every = [job for stages in todo.values() for stage in stages for job in stage]
    # Of all records, also those that an earlier command left.
    found = [record for record in (store.load(job.key) for job in every) if record]
    report["trainings"] = len(found)
    report["training_seconds"] = sum(record["seconds"] for record in found)
    report["workers"] = workers
    return report


def _timed(name: str, plan: Plan, store: Store) -> Any:
    """The time of steps, measured in this process while no other trains."""
    import torch

    from benchmarks.training.timing import measure

    torch.set_num_threads(1)
    key = {"task": name, "run": "timing", "seed": 0, "steps": plan.timing, "source": source(name)}
    return store.made(key, lambda: {"rows": measure(TASKS[name], plan.timing)})["rows"]


def main() -> None:
    """Train, print, and write where asked."""
    parser = argparse.ArgumentParser(description="Train under masks on two small tasks.")
    parser.add_argument("--task", choices=TASKS, action="append", help="only this one")
    parser.add_argument("--quick", action="store_true", help="a few short runs: some minutes")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time (default: 2)")
    parser.add_argument("--fresh", action="store_true", help="forget all records first")
    parser.add_argument("--out", type=Path, help=f"folder (default: {RESULTS}; --quick: none)")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = options.out or (None if options.quick or options.task else RESULTS)
    records = (options.out or RESULTS) / "training"
    if options.fresh:
        shutil.rmtree(records, ignore_errors=True)
    plan = QUICK if options.quick else FULL
    report = run(options.task or list(TASKS), plan, records, options.workers)
    table = text(report)
    print(table)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "training.json", json.dumps(report, separators=(",", ":")) + "\n")
        write(folder / "training.txt", table + "\n")


if __name__ == "__main__":
    main()
