"""One task of :mod:`benchmarks.checkpoints`, in a process of its own: prints what it took.

``python -m benchmarks.checkpoint_task TASK SOURCE TARGET``
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def copy(source: Path, target: Path, by: str) -> dict[str, Any]:
    """The files of a model, with their data on the disk."""
    import shutil

    from safetensors.torch import load_file, save_file

    def work() -> None:
        target.mkdir()
        for path in sorted(source.glob("*.safetensors")):
            if by == "shutil":
                shutil.copyfile(path, target / path.name)
            else:
                save_file(load_file(path), target / path.name, metadata={"format": "pt"})
            with (target / path.name).open("r+b") as file:
                os.fsync(file.fileno())

    return timed(work)


def prune(source: Path, target: Path, workers: int, dask: bool) -> dict[str, Any]:
    """To 8:16, certified; a cluster is there before the clock starts."""
    from nmflow.checkpoint import prune_checkpoint

    options: dict[str, Any] = {"compare": False, "workers": 1 if dask else workers}
    found: dict[str, Any] = {}

    def work() -> None:
        report = prune_checkpoint(source, target, 8, 16, **options)
        found.update(gap=report.gap, layers=len(report.layers), kernels=report.kernel_seconds)

    with dask_workers(workers) if dask else contextlib.nullcontext() as options["scheduler"]:
        found |= timed(work)
    return found


@contextlib.contextmanager
def dask_workers(count: int) -> Iterator[str]:
    """The address of a scheduler of so many processes with a thread each."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=count, threads_per_worker=1, dashboard_address=":0", silence_logs=60
    ) as cluster:
        yield cluster.scheduler_address


def timed(work: Callable[[], None]) -> dict[str, Any]:
    """Seconds of some work."""
    begin = time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - begin}


def used() -> dict[str, float]:
    """Processor time of this process and those it started, and the most memory of any."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "cpu": sum(each.ru_utime + each.ru_stime for each in usages),
        "peak_mb": max(each.ru_maxrss for each in usages) / 1024,
    }


def main() -> None:
    """Perform the task that the command line names."""
    task, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if task.startswith("copy"):
        found = copy(source, target, task.split()[-1])
    else:
        found = prune(source, target, int(task.split()[1]), "Dask" in task)
    print(json.dumps(found | used()))


if __name__ == "__main__":
    main()
