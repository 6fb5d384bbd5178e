"""How fast whole models are pruned: ``python -m benchmarks.checkpoints``.

Writes ``benchmarks/results/checkpoints.json`` and ``checkpoints.txt``: ``nmflow prune`` at 8:16,
certified and verified, of bfloat16 models like Llama, beside copies of the same files, each in a
process of its own, in turn. All of them end with the data on the disk. Needs room for three times
the largest model; ``--gb`` chooses sizes, ``--folder`` where they go, ``--rounds`` how often.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import llama
from benchmarks.machine import describe
from benchmarks.tables import machine

RESULTS = Path(__file__).parent / "results"
SIZES = (0.1, 0.5, 2.0, 8.0)
TWO_WORKERS = "prune, 2 workers"
TASKS = (
    "copy by safetensors",
    "copy by shutil",
    "prune, 1 worker",
    TWO_WORKERS,
    "prune, 1 Dask worker",
    "prune, 2 Dask workers",
)
PROJECTED = {"8 B": 8.03e9, "70 B": 70.6e9, "405 B": 405.9e9}
BYTES_A_WEIGHT = 2


def run(task: str, source: Path, target: Path) -> dict[str, Any]:
    """One task in its own process."""
    command = [sys.executable, "-m", "benchmarks.checkpoint_task", task, str(source), str(target)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    shutil.rmtree(target)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(folder: Path, sizes: tuple[float, ...], rounds: int) -> list[dict[str, Any]]:
    """A row for each size and task: medians over rounds, in which tasks take turns."""
    rows = []
    for gigabytes in sizes:
        source = folder / f"llama-{gigabytes}"
        size = llama.write(source, 1e9 * gigabytes)
        times: dict[str, list[dict[str, Any]]] = {task: [] for task in TASKS}
        for _ in range(rounds if gigabytes < 4 else 1):
            for task in TASKS:
                times[task].append(run(task, source, folder / "out"))
        shutil.rmtree(source)
        for task in TASKS:
            row = {"gb": gigabytes, "bytes": size, "task": task, "rounds": len(times[task])}
            for key in times[task][0]:
                row[key] = statistics.median(each[key] for each in times[task])
            ratios = [
                copied["seconds"] / ours["seconds"]
                for copied, ours in zip(times[TASKS[0]], times[task], strict=True)
            ]
            rows.append(row | {"of_copy": statistics.median(ratios)})
            print(f"{gigabytes} GB, {task}: {row}", flush=True)
    return rows


def text(report: dict[str, Any]) -> str:
    """The table."""
    lines = [machine(report), "", *NOTES, ""]
    if max(report["load"]) > report["machine"]["cores"]:
        loads = " and ".join(f"{load:.0f}" for load in report["load"])
        lines += [f"The machine had other work: {loads} processes wanted its cores.", ""]
    lines.append(f"{'size':>8}  {'':22}{'GB/s':>8}{'of copy':>9}{'CPU s/GB':>10}{'peak MB':>9}")
    for row in report["rows"]:
        rate = row["bytes"] / row["seconds"] / 1e9
        lines.append(
            f"{row['bytes'] / 1e9:5.2f} GB  {row['task']:22}{rate:8.3f}{row['of_copy']:9.2f}"
            f"{row['cpu'] / row['bytes'] * 1e9:10.2f}{row['peak_mb']:9.0f}"
        )
    lines += [
        "",
        "Projected from the largest size, 2 workers: as many bytes at the same speed;",
    ]
    lines += ["time is linear in size, memory does not grow. bfloat16, one disk, this machine."]
    best = [row for row in report["rows"] if row["task"] == TWO_WORKERS][-1]
    for name, weights in PROJECTED.items():
        size = BYTES_A_WEIGHT * weights
        minutes = size * best["seconds"] / best["bytes"] / 60
        cpu = size * best["cpu"] / best["bytes"] / 3600
        lines.append(f"{name:>6}  {size / 1e9:6.0f} GB  {minutes:7.1f} min  {cpu:6.2f} core hours")
    return "\n".join(lines)


NOTES = (
    "Models like Llama in bfloat16 pruned to 8:16, every tile certified optimal, files read back",
    "and verified; copies by safetensors (load_file, save_file) and shutil. In turn, medians; all",
    "with fsync. CPU: processor time, with what it takes to start and to load kernels. Workers of",
    "Dask are processes of one thread on the same machine, there before the clock starts; memory:",
    "of the largest process.",
)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, nargs="+", default=SIZES)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = measure(Path(folder), tuple(options.gb), options.rounds)
    report = {"machine": describe(), "load": [load, os.getloadavg()[0]], "rows": rows}
    (RESULTS / "checkpoints.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "checkpoints.txt").write_text(text(report) + "\n")
    print(text(report))


if __name__ == "__main__":
    main()
