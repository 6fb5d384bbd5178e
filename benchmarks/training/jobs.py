"""What there is to train, and training it once."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.training.runs import BY_NAME, DENSE, RUNS, Run
from benchmarks.training.store import Record, Store
from benchmarks.training.task import Held, Setting, Task

# A change in one of these makes records anew; a change of nmflow does not: use --fresh.
_SOURCES = ("masks", "task", "train")


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes
    ----------
    task, run : str
    seed : int
    setting : Setting
    held : {"tune", "test"}
    """

    task: str
    run: str
    seed: int
    setting: Setting
    held: Held = "test"

    @property
    def key(self) -> Record:
        """All that decides what comes out."""
        return {
            **{"task": self.task, "seed": self.seed, "held": self.held},
            "run": self.run,
            "masks": asdict(BY_NAME[self.run]),
            "setting": self.setting._asdict(),
            "source": source(self.task),
        }

    def __str__(self) -> str:
        rate, decay, steps = self.setting
        return (
            f"{self.task}, {self.run}, seed {self.seed}"
            f" (rate {rate:g}, decay {decay:g}, {steps} steps, {self.held})"
        )


@dataclass(frozen=True)
class Plan:
    """How much to train and measure.

    Attributes
    ----------
    runs : tuple of Run
    seeds : int
        At most.
    steps : int
        At most; 0 for each task's own.
    sweep : bool
    timing : int
        Steps of each timing.
    """

    runs: tuple[Run, ...] = RUNS
    seeds: int = 100
    steps: int = 0
    sweep: bool = True
    timing: int = 120

    def setting(self, setting: Setting) -> Setting:
        """The setting with no more steps than there may be."""
        return setting._replace(steps=min(setting.steps, self.steps or setting.steps))


FULL = Plan()
QUICK = Plan(
    runs=(DENSE, BY_NAME["4:8 STE"], BY_NAME["4:8 SR-STE"]),
    **{"seeds": 1, "steps": 150, "sweep": False, "timing": 40},
)


def source(task: str) -> str:
    """A digest of the code that trains."""
    folder = Path(__file__).parent
    code = b"".join((folder / f"{name}.py").read_bytes() for name in (*_SOURCES, task))
    return hashlib.sha256(code).hexdigest()[:16]


def jobs(task: Task, plan: Plan) -> tuple[list[Job], list[Job]]:
    """What comes first, the dense runs among it, and what comes then."""
    first = [
        Job(task.name, DENSE.name, seed, plan.setting(setting), "tune")
        for setting in task.sweep
        for seed in range(task.sweep_seeds)
        if plan.sweep
    ]
    then = []
    setting = plan.setting(task.setting)
    for run in plan.runs:
        count = task.dense_seeds if run == DENSE else task.seeds
        place = first if run == DENSE else then
        place += [Job(task.name, run.name, seed, setting) for seed in range(min(count, plan.seeds))]
    return first, then


def perform(job: Job, folder: Path) -> Record:
    """The record of a job, which may take a minute."""
    import torch

    from benchmarks.training.tasks import TASKS
    from benchmarks.training.train import train

    torch.set_num_threads(1)
    store, run = Store(folder), BY_NAME[job.run]
    weights = {}
    dense = Job(job.task, DENSE.name, job.seed, job.setting, job.held)
    if run == DENSE:
        weights["keep"] = store.path(job.key, ".pt")
    if run.from_dense:
        perform(dense, folder)
        weights["start"] = store.path(dense.key, ".pt")
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"setting": job.setting, "held": job.held, **weights}
    return store.made(job.key, lambda: train(TASKS[job.task], run, job.seed, **options))


def perform_all(todo: list[Job], folder: Path, workers: int, say: Any) -> None:
    """Train all, some side by side, each on one core."""
    todo = [job for job in todo if Store(folder).load(job.key) is None]
    if not todo:
        return
    # Read by the libraries when a process loads them.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = {pool.submit(perform, job, folder): job for job in todo}
        try:
            for count, done in enumerate(as_completed(waiting), 1):
                record = done.result()
                final = ", ".join(f"{k} {v:.4f}" for k, v in record["final"].items())
                say(f"{count} of {len(todo)}: {waiting[done]}: {final}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
