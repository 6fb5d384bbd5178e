"""Records put together: means, spreads, and whether a run ends where dense ones do."""

from __future__ import annotations

import statistics
from typing import Any

import nmflow
from benchmarks.training.jobs import Job
from benchmarks.training.runs import BY_NAME, DENSE, Run
from benchmarks.training.store import Record, Store
from benchmarks.training.task import Task


def summarise(task: Task, todo: list[Job], store: Store) -> dict[str, Any]:
    """A task's part of the report, from the records of its jobs."""
    found = [(job, record) for job in todo if (record := store.load(job.key)) is not None]
    if missing := len(todo) - len(found):
        raise RuntimeError(f"{task.name}: {missing} of {len(todo)} records are missing")
    counted = [(job, record) for job, record in found if job.held == "test"]
    by_run: dict[str, list[Record]] = {}
    for job, record in counted:
        by_run.setdefault(job.run, []).append(record)
    dense = values(task, by_run[DENSE.name])
    return {
        **{"title": task.title, "metric": task.metric, "unit": task.unit, "higher": task.higher},
        "setting": by_run[DENSE.name][0]["setting"],
        "data": by_run[DENSE.name][0]["data"],
        "parameters": sum(p.numel() for p in task.new_model().parameters()),
        "sweep": sweep(task, [(job, record) for job, record in found if job.held == "tune"]),
        "runs": {name: row(task, BY_NAME[name], each, dense) for name, each in by_run.items()},
    }


def values(task: Task, records: list[Record]) -> list[float]:
    """The metric, seed by seed."""
    return [record["final"][task.metric] for record in records]


def row(task: Task, run: Run, records: list[Record], dense: list[float]) -> dict[str, Any]:
    """All seeds of a run; refreshes of the first alone."""
    finals = values(task, records)
    masks = [record["masks"] for record in records]
    found = {
        **{"n": run.n, "m": run.m, "pattern": run.pattern, "method": run.method},
        **{"rule": run.rule, "every": run.every, "from_dense": run.from_dense},
        "log10_masks_per_weight": diversity(run),
        "values": finals,
        **spread(finals),
        "beyond_dense": statistics.mean(finals) - statistics.mean(dense),
        "within_dense": within(task, finals, dense),
        "final": [record["final"] for record in records],
        "losses": [record["losses"] for record in records],
        "seconds_per_step": statistics.median(r["seconds_per_step"] for r in records),
    }
    if run.m:
        found["layers"] = masks[0]["layers"]
        found["entries"] = masks[0]["entries"]
        found["dense_layers"] = masks[0]["dense"]
        found["refreshes"] = masks[0]["refreshes"]
        found["history"] = masks[0]["history"]
        found["kept"] = [mask["history"][-1]["kept"] for mask in masks]
        found["certificates"] = [mask["certificates"] for mask in masks]
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation of single runs, least and greatest."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": statistics.mean(values),
        "deviation": deviation,
        "min": min(values),
        "max": max(values),
    }


def within(task: Task, finals: list[float], dense: list[float]) -> bool:
    """Whether the mean is at least as good as the worst dense seed."""
    mean = statistics.mean(finals)
    return mean >= min(dense) if task.higher else mean <= max(dense)


def sweep(task: Task, found: list[tuple[Job, Record]]) -> list[dict[str, Any]]:
    """What each setting of the dense baseline reached on what was held out for tuning."""
    settings = list(dict.fromkeys(job.setting for job, _ in found))
    rows = []
    for setting in settings:
        records = [record for job, record in found if job.setting == setting]
        finals = values(task, records)
        rows.append(
            {
                **setting._asdict(),
                **{"values": finals, "mean": statistics.mean(finals)},
                "final": [record["final"] for record in records],
                "chosen": setting == task.setting,
            }
        )
    return rows


def diversity(run: Run) -> float | None:
    """log10 of how many masks the pattern allows, a weight; none for the dense run."""
    if not run.m:
        return None
    shape = (run.m, run.m)
    return nmflow.log10_mask_diversity(run.n, run.m, run.pattern, shape=shape) / run.m**2
