"""Records of training runs outlive an interruption, and make a report."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tiny_runs import SWIFT  # noqa: E402

from benchmarks.training import (  # noqa: E402
    __main__ as command,
)
from benchmarks.training import (  # noqa: E402
    digits,
    jobs,
    large,
    stdlib,
    store,
    summary,
    tables,
    timing,
    train,
)
from benchmarks.training.runs import BY_NAME, DENSE, RUNS  # noqa: E402
from benchmarks.training.task import Setting  # noqa: E402


def all_jobs(task, plan):
    first, then = jobs.jobs(task, plan)
    return first + then


def test_records_outlive_an_interruption(small, tmp_path, monkeypatch):
    first, second = (jobs.Job("digits", DENSE.name, k, small["digits"].setting) for k in (0, 1))
    record = jobs.perform(first, tmp_path)
    monkeypatch.setattr(train, "train", lambda *a, **k: pytest.fail("trained again"))
    assert jobs.perform(first, tmp_path) == record
    with pytest.raises(pytest.fail.Exception, match="again"):
        jobs.perform(second, tmp_path)
    # What was being written counts for nothing.
    path = store.Store(tmp_path).path(second.key)
    path.with_name(path.name + ".part").write_text("{")
    assert store.Store(tmp_path).load(second.key) is None


def test_records_are_of_their_setting_and_code(small, monkeypatch):
    job = jobs.Job("digits", SWIFT.name, 0, small["digits"].setting)
    keys = [job.key, replace(job, setting=Setting(0.1, 0, 3)).key, replace(job, held="tune").key]
    monkeypatch.setitem(BY_NAME, SWIFT.name, replace(SWIFT, every=5))
    keys.append(job.key)
    monkeypatch.setattr(jobs, "_SOURCES", ("masks",))
    keys.append(job.key)
    paths = {store.Store(Path()).path(key) for key in keys}
    assert len(paths) == len(keys)


def test_fine_tuning_starts_from_the_dense_run_of_its_seed(small, tmp_path, monkeypatch):
    run = BY_NAME["4:8 fixed after dense"]
    job = jobs.Job("digits", run.name, 1, small["digits"].setting)
    begins = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda path, **k: begins.append(path) or load(path, **k))
    record = jobs.perform(job, tmp_path)
    (path,) = begins
    assert path.name.startswith("digits-dense-1")
    dense = jobs.perform(replace(job, run=DENSE.name), tmp_path)
    assert record["losses"][0] < dense["losses"][0]


def test_a_report_from_records(small, tmp_path, capsys):
    plan = jobs.Plan(runs=(DENSE, BY_NAME["2:4 one-way"]), seeds=2, timing=3)
    for name, task in small.items():
        for job in all_jobs(task, plan):
            if job != jobs.Job(name, DENSE.name, 0, task.setting):
                jobs.perform(job, tmp_path)
    todo = all_jobs(small["digits"], plan)
    with pytest.raises(RuntimeError, match="digits: 1 of 6 records are missing"):
        summary.summarise(small["digits"], todo, store.Store(tmp_path))
    for name, task in small.items():
        jobs.perform(jobs.Job(name, DENSE.name, 0, task.setting), tmp_path)
    report = json.loads(json.dumps(command.run(list(small), plan, tmp_path, 1)))
    for task in report["tasks"].values():
        assert list(task["runs"]) == ["dense", "2:4 one-way"]
        assert [row["chosen"] for row in task["sweep"]] == [True, False]
        row = task["runs"]["2:4 one-way"]
        assert len(row["values"]) == len(row["losses"]) == len(row["certificates"]) == 2
        assert row["log10_masks_per_weight"] == pytest.approx(np.log10(6) / 4)
        assert all(each["largest_gap"] == 0 for each in row["certificates"])
    assert "2:4 one-way" in tables.text(report)
    table = tables.readme(report).splitlines()
    assert table[2].startswith("| dense | ")
    assert table[3].startswith("| 2:4 one-way | ")
    assert all(line.count("|") == 4 for line in table)
    assert "every 40 steps" in tables.readme_timing(report)


def test_within_the_spread_of_dense_runs(small):
    accuracy, bits = small["digits"], small["stdlib"]
    assert summary.within(accuracy, [0.9, 0.8], [0.85, 0.99])
    assert not summary.within(accuracy, [0.9, 0.7], [0.85, 0.99])
    assert summary.within(bits, [2.0, 2.2], [1.9, 2.15])
    assert not summary.within(bits, [2.0, 2.4], [1.9, 2.15])


def test_times_of_steps(small):
    rows = timing.measure(small["digits"], 6)
    assert [(row["pattern"], row["every"]) for row in rows] == [
        *(("dense", None), ("2:4", 40), ("4:8", 40), ("8:16", 40)),
        *(("2:4", 1), ("4:8", 1), ("8:16", 1)),
    ]
    assert rows[0]["mask_share"] == 0
    assert all(row["steps"] == 6 and row["step_seconds"] > 0 for row in rows)
    assert all(0 < row["mask_share"] < 1 for row in rows[1:])


def test_the_runs_that_were_promised():
    for n, m in ((2, 4), (4, 8), (8, 16)):
        for rule in ("ste", "sr-ste"):
            run = BY_NAME[f"{n}:{m} {rule.upper()}"]
            assert (run.n, run.m, run.rule, run.pattern) == (n, m, rule, "transposable")
            assert run.method == "flow"
    assert BY_NAME["4:8 fixed at the start"].every == 0
    assert BY_NAME["2:4 one-way"].pattern == BY_NAME["4:8 one-way"].pattern == "rows"
    assert BY_NAME["4:8 greedy-keep"].method == "greedy-keep"
    assert len({run.name for run in RUNS}) == len(RUNS)
    for task in (digits.TASK, stdlib.TASK):
        assert task.setting in task.sweep
        assert min(task.seeds, task.dense_seeds) >= 3


def test_large_on_any_machine(tmp_path, monkeypatch, capsys):
    out = tmp_path / "large.json"
    argv = ["large", "--tiny", "--device", "cpu", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", argv)
    large.main()
    report = json.loads(out.read_text())
    assert report["device"] == "CPU"
    assert list(report["runs"]) == [run.name for run in large.RUNS]
    for row in report["runs"].values():
        assert len(row["losses"]) == large.TINY.steps
        assert row["masks"] is None or row["masks"]["certificates"]["largest_gap"] == 0
    assert "gap 0" in capsys.readouterr().out
