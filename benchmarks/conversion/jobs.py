"""Conversions side by side, each on one core."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.conversion.runs import Run
from benchmarks.training.store import Store


def perform(run: Run, folder: Path) -> dict[str, Any]:
    """The record of a run, which may take a minute."""
    import torch

    from benchmarks.conversion.fidelity import convert

    torch.set_num_threads(1)
    return Store(folder).made(run.key, lambda: convert(run))


def perform_all(todo: list[Run], folder: Path, workers: int, until: float, say: Any) -> None:
    """Convert all, some side by side, each on one core, until time is over."""
    todo = [run for run in todo if Store(folder).load(run.key) is None]
    if not todo or time.perf_counter() > until:
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = {pool.submit(perform, run, folder): run for run in todo}
        for count, done in enumerate(as_completed(waiting), 1):
            if not done.cancelled():
                record = done.result()
                say(f"{count} of {len(todo)}: {waiting[done]}: cosine {record['cosine']:.4f}")
            if time.perf_counter() > until:
                for each in waiting:
                    each.cancel()
