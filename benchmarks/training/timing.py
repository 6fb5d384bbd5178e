"""What masks cost: the time of a step with and without, nothing else running."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from benchmarks.training.masks import Masks
from benchmarks.training.runs import DENSE, RUNS, Run
from benchmarks.training.task import Task
from benchmarks.training.train import groups, steps

EVERY = (40, 1)
# Pieces that the steps of each timing are cut to, taken in turn.
ROUNDS = 3


def measure(task: Task, count: int) -> list[dict[str, Any]]:
    """Seconds of a step, dense and under each n:m, and the share of it that masks take.

    All train from their first day on, when masks flip most. The share is the time in
    ``handle.step()``, solving and all, and does not count the product of weight and mask in each
    forward pass: for that compare steps.
    """
    kinds = [run for run in RUNS if run.rule == "sr-ste" and run.name.endswith("SR-STE")]
    plans = [DENSE, *(replace(run, every=every) for every in EVERY for run in kinds)]
    sessions = [Session(task, run, count) for run in plans]
    for session in sessions:
        session.go(2)
        session.clear()
    for _ in range(ROUNDS):
        for session in sessions:
            session.go(count // ROUNDS)
    base = statistics.median(sessions[0].times)
    return [session.row(base) for session in sessions]


class Session:
    """A training that can be gone on with."""

    def __init__(self, task: Task, run: Run, count: int) -> None:
        torch.manual_seed(0)
        self.run = run
        model, data = task.new_model(), task.load("test")
        setting = task.setting
        self.masks = Masks(model, run, task.dense, setting.steps)
        optimizer = task.optimizer(groups(model, setting.decay), setting.rate)
        generator = torch.Generator().manual_seed(0)
        self.steps = steps(model, optimizer, setting, self.masks, lambda: data.batch(generator))
        self.clear()

    def clear(self) -> None:
        """Forget what was timed."""
        self.times: list[float] = []
        self.elapsed = 0.0
        self.masks.seconds = 0.0

    def go(self, count: int) -> None:
        """Train so many steps on."""
        for _ in range(count):
            begin = time.perf_counter()
            next(self.steps)
            self.times.append(time.perf_counter() - begin)
        self.elapsed = sum(self.times)

    def row(self, base: float) -> dict[str, Any]:
        """What was found, beside the dense step's median."""
        pattern = f"{self.run.n}:{self.run.m}" if self.run.m else "dense"
        median = statistics.median(self.times)
        return {
            "pattern": pattern,
            "every": self.run.every if self.run.m else None,
            "steps": len(self.times),
            "step_seconds": float(f"{median:.4g}"),
            "mean_step_seconds": float(f"{self.elapsed / len(self.times):.4g}"),
            "mask_seconds": float(f"{self.masks.seconds:.4g}"),
            "mask_share": float(f"{self.masks.seconds / self.elapsed:.4g}"),
            "times_dense": float(f"{median / base:.4g}"),
        }
