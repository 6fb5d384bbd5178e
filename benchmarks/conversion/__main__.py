"""Convert real models by every method: ``python -m benchmarks.conversion``.

Writes ``conversion.json`` and ``conversion.txt`` to ``benchmarks/results/``. Each conversion leaves
its record in ``benchmarks/results/conversion/`` as soon as it is done, and what has a record is not
done again, nor what the last report has: after an interruption the same command goes on.
Neither knows nmflow's code: ``--fresh`` makes all anew. ``--stop-after MINUTES`` writes what there
is by then.
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

from benchmarks.conversion.jobs import perform_all
from benchmarks.conversion.runs import quick, runs
from benchmarks.conversion.summary import carry_over, is_in, summarise
from benchmarks.conversion.tables import text
from benchmarks.machine import describe
from benchmarks.training.store import Store, write

RESULTS = Path(__file__).parents[1] / "results"
PARTS = ("fidelity", "language", "layers", "large")


def other_parts(
    names: list[str], store: Store, before: dict[str, Any], until: float, say: Any
) -> dict[str, Any]:
    """What is not MiniLM and not known before: one after the other, until time is over."""
    from benchmarks.conversion import language, large, layers

    def made(task: str, run: str, make: Any) -> Any:
        key = {"task": task, "run": run, "seed": 0}
        if store.load(key) is None and time.perf_counter() > until:
            return None
        found = store.made(key, make)
        say(f"{task}, {run}")
        return found

    found: dict[str, Any] = {}
    for name, measure in (("language", language.measure), ("large", large.measure)):
        if name in names and not before.get(name):
            found[name] = made(name, "all", lambda measure=measure: measure(say))
    if "layers" in names:
        known = before.get("layers", [])
        rows = [made("layers", run, make) for run, make in layers.measures(known).items()]
        found["layers"] = [row for row in rows if row is not None]
    return {name: part for name, part in found.items() if part}


def main() -> None:
    """Convert, print, and write where asked."""
    parser = argparse.ArgumentParser(description="Convert real models by every method.")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this one")
    parser.add_argument("--quick", action="store_true", help="two conversions; writes nothing")
    parser.add_argument("--workers", type=int, default=2, help="conversions at a time (default: 2)")
    parser.add_argument("--stop-after", type=float, default=float("inf"), metavar="MINUTES")
    parser.add_argument("--fresh", action="store_true", help="forget all records first")
    options = parser.parse_args()
    # Read by the libraries when a process loads them.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    records = RESULTS / ("conversion-quick" if options.quick else "conversion")
    if options.fresh or options.quick:
        shutil.rmtree(records, ignore_errors=True)
    begin = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - begin:6.0f} s  {what}", file=sys.stderr, flush=True)

    parts = options.part or ([PARTS[0]] if options.quick else list(PARTS))
    result = RESULTS / "conversion.json"
    again = options.fresh or options.quick or not result.exists()
    before: dict[str, Any] = {} if again else json.loads(result.read_text())
    wanted = (quick() if options.quick else runs()) if "fidelity" in parts else []
    todo = [run for run in wanted if not before or not is_in(before, run)]
    until = begin + 60 * options.stop_after
    perform_all(todo, records, options.workers, until, say)
    store = Store(records)
    others = other_parts(parts, store, before, until, say)
    report = {"machine": describe(), **summarise(wanted, store), **others}
    if before:
        report = carry_over(report, before)
    table = text(report)
    print(table)
    if options.quick:
        shutil.rmtree(records)
    elif not options.part:
        write(RESULTS / "conversion.json", json.dumps(report, separators=(",", ":")) + "\n")
        write(RESULTS / "conversion.txt", table + "\n")


if __name__ == "__main__":
    main()
