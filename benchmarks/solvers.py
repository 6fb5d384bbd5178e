"""Every figure that README quotes: ``python -m benchmarks.solvers [--quick] [--out FOLDER]``.

One run in four parts: methods and peers per tile (interleaved), whole matrices and memory, first
calls, warm starts. Writes ``solvers.json`` and ``solvers.txt``, by default to
``benchmarks/results/``. With ``--quick`` it measures less and, unless told where, writes nothing.
``python -m benchmarks.pages`` then writes README's tables and picture.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import matrices, tiles, warm
from benchmarks.machine import describe
from benchmarks.problems import COMMON, PATTERNS, WEIGHTS
from benchmarks.tables import text

RESULTS = Path(__file__).parent / "results"


class Plan(NamedTuple):
    """How much to measure.

    Attributes
    ----------
    patterns : tuple of (n, m)
    kinds : tuple of str
        Weights.
    passes : int
        How often all methods and peers are timed on all weights and patterns, minutes apart.
    rounds : int
        Repeats in each pass.
    allowance : float
        A method that took so many seconds on one kind of weights gets one repeat in a pass.
    largest : int
        Of the whole matrices.
    repeats : int
        Of the measurements on whole matrices.
    steps : int
        Updates of each warm start.
    """

    patterns: tuple[tuple[int, int], ...]
    kinds: tuple[str, ...]
    passes: int
    rounds: int
    allowance: float
    largest: int
    repeats: int
    steps: int


FULL = Plan(PATTERNS, tuple(WEIGHTS), 3, 3, 0.1, 8192, 15, 15)
QUICK = Plan(COMMON, ("MiniLM float32",), 1, 3, 0.1, 2048, 3, 5)


def measure(plan: Plan) -> dict[str, Any]:
    """The whole report; progress goes to standard error."""
    begin = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - begin:6.1f} s  {what}", file=sys.stderr, flush=True)

    report: dict[str, Any] = {"machine": describe(), "plan": plan._asdict()}
    single_threaded()
    contests = {}
    for kind in plan.kinds:
        for n, m in plan.patterns:
            say(f"{n}:{m} on {kind}")
            contests[f"{n}:{m}", kind] = tiles.Contest(kind, n, m)
    # A machine may be slow for minutes: every ratio is a median over the whole run.
    for number in range(plan.passes):
        for (pattern, kind), contest in contests.items():
            say(f"pass {number + 1} of {plan.passes}: {pattern} on {kind}")
            contest.play(plan.rounds, plan.allowance)
            gc.collect()
    report["tiles"] = {}
    for (pattern, kind), contest in contests.items():
        report["tiles"].setdefault(pattern, {})[kind] = contest.rows()
    del contests
    say("whole matrices")
    report["matrices"] = matrices.measure(plan.largest, plan.repeats)
    say("warm starts")
    report["warm"] = warm.measure(plan.steps)
    report["seconds"] = time.perf_counter() - begin
    say("done")
    return report


def single_threaded() -> None:
    """Keep PyTorch, a peer, on one core."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description="Time nmflow's methods and their peers.")
    parser.add_argument("--quick", action="store_true", help="about a minute's look")
    parser.add_argument("--out", type=Path, help=f"folder (default: {RESULTS}; --quick: none)")
    options = parser.parse_args()
    report = measure(QUICK if options.quick else FULL)
    table = text(report)
    print(table)
    folder = options.out or (None if options.quick else RESULTS)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "solvers.json").write_text(json.dumps(report, indent=1) + "\n")
        (folder / "solvers.txt").write_text(table + "\n")


if __name__ == "__main__":
    main()
