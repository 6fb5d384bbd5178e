"""The training benchmark trains what it says, and its records outlive an interruption."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.training import (  # noqa: E402
    __main__ as command,
)
from benchmarks.training import (  # noqa: E402
    digits,
    jobs,
    large,
    masks,
    stdlib,
    store,
    summary,
    tables,
    tasks,
    timing,
    train,
)
from benchmarks.training.runs import BY_NAME, DENSE, RUNS, Run  # noqa: E402
from benchmarks.training.task import Setting  # noqa: E402

STEPS = 12
SWIFT = Run("4:8 swift", 4, 8, rule="sr-ste", every=4)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiny versions of both tasks, which need no scikit-learn."""
    threads = torch.get_num_threads()
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 10, 1100))
    images = torch.from_numpy(rng.standard_normal((1100, 1, 8, 8)).astype(np.float32))
    images += labels[:, None, None, None] / 2
    monkeypatch.setattr(digits, "_all", lambda: (images, labels))
    monkeypatch.setattr(stdlib, "HELD_BYTES", 4096)
    monkeypatch.setattr(stdlib, "TRAIN_BYTES", 2_000_000)
    few = {"seeds": 2, "dense_seeds": 2, "sweep_seeds": 1}
    one = Setting(0.01, 0.01, STEPS)
    other = {"setting": one, "sweep": (one, Setting(0.02, 0.01, STEPS)), **few}
    small = {
        "digits": replace(digits.TASK, new_model=lambda: digits.Network(16), **other),
        "stdlib": replace(stdlib.TASK, new_model=lambda: stdlib.Transformer(32, 1, 2), **other),
    }
    monkeypatch.setattr(tasks, "TASKS", small)
    monkeypatch.setattr(command, "TASKS", small)
    monkeypatch.setitem(BY_NAME, SWIFT.name, SWIFT)
    yield small
    torch.set_num_threads(threads)


def all_jobs(task, plan):
    first, then = jobs.jobs(task, plan)
    return first + then


@pytest.mark.parametrize("name", ["digits", "stdlib"])
def test_a_run_trains_and_tells(small, name):
    task = small[name]
    record = train.train(task, SWIFT, 0)
    json.dumps(record)
    assert record["losses"][-1] < record["losses"][0]
    assert len(record["losses"]) == STEPS
    assert task.metric in record["final"]
    assert record["seconds"] > 0
    found = record["masks"]
    assert [each["step"] for each in found["history"]] == [0, 4, 8, 12]
    assert found["history"][0]["flip_rate"] == 0.5
    assert 0 < found["history"][-1]["flip_rate"] < 0.5
    assert 0.5 < found["history"][-1]["kept"] < 1
    assert 0 < found["share_of_time"] < 1
    certificates = found["certificates"]
    assert certificates["largest_gap"] == 0
    assert certificates["optimal"]
    assert certificates["full"]
    assert certificates["layers"] == found["layers"] == (7 if name == "digits" else 4)
    skipped = {layer.split(".")[0] for layer in found["dense"]}
    assert skipped == set(task.dense)


def test_a_seed_decides_all(small, monkeypatch):
    batches = []
    loss_of = train.loss_of
    monkeypatch.setattr(train, "loss_of", lambda *x: batches.append(x[1][0]) or loss_of(*x))
    first, again, other = (train.train(small["digits"], SWIFT, seed) for seed in (0, 0, 1))
    assert first["losses"] == again["losses"]
    assert first["final"] == again["final"]
    assert first["losses"] != other["losses"]
    assert torch.equal(batches[0], batches[STEPS])
    assert not torch.equal(batches[0], batches[2 * STEPS])


def test_fixed_masks_stay(small):
    found = train.train(small["stdlib"], replace(SWIFT, every=0), 0)["masks"]
    assert found["refreshes"] == 1
    assert found["certificates"]["largest_gap"] == 0


def test_an_approximation_is_told_apart(small):
    found = train.train(small["digits"], replace(SWIFT, method="greedy-keep"), 0)["masks"]
    assert found["certificates"]["largest_gap"] > 0
    assert not found["certificates"]["optimal"]
    assert not found["certificates"]["full"]


def test_a_diverged_run_leaves_no_record(small, monkeypatch):
    monkeypatch.setattr(
        train, "loss_of", lambda model, batch: torch.tensor(np.nan).requires_grad_()
    )
    with pytest.raises(FloatingPointError, match="digits, dense, seed 3"):
        train.train(small["digits"], DENSE, 3)


def test_what_is_held_out_is_not_trained_on(small):
    for held in ("tune", "test"):
        data = stdlib.Stdlib(held)
        assert data.held[5].numpy().tobytes() not in data.train.numpy().tobytes()
    tuning, test = stdlib.Stdlib("tune"), stdlib.Stdlib("test")
    assert test.held[5].numpy().tobytes() not in tuning.train.numpy().tobytes()
    assert tuning.held[5].numpy().tobytes() in test.train.numpy().tobytes()
    assert len({bytes(piece.numpy()) for piece in test.held}) == len(test.held) == 32
    for held, sizes in (("tune", (750, 250)), ("test", (1000, 100))):
        images = digits.Digits(held)
        assert (len(images.images), len(images.held_images)) == sizes


def test_images_move_by_a_pixel_at_most():
    data = digits.Digits("test")
    images, labels = data.batch(torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(data.images, (1, 1, 1, 1))
    moved = [padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    moves = set()
    for image, label in zip(images, labels, strict=True):
        same = torch.stack([(each == image).all((1, 2, 3)) for each in moved])
        ((move, source),) = same.nonzero()
        assert data.labels[source] == label
        moves.add(int(move))
    assert moves == set(range(9))


def test_bytes_follow_bytes():
    data = stdlib.Stdlib("test")
    inputs, targets = data.batch(torch.Generator().manual_seed(0))
    assert inputs.shape == (stdlib.BATCH, stdlib.CONTEXT)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_bits_of_a_guess():
    """All bytes alike cost 8 bits each."""

    class Guess(torch.nn.Module):
        def forward(self, x):
            return torch.zeros(*x.shape, 256)

    assert stdlib.Stdlib("test").evaluate(Guess())["bits_per_byte"] == pytest.approx(8)


def test_attention_looks_back_only():
    torch.manual_seed(0)
    model = stdlib.Transformer(32, 2, 2)
    x = torch.randint(256, (1, 16))
    later = x.clone()
    later[0, 10:] += 1
    assert torch.equal(model(x)[:, :10], model(later % 256)[:, :10])
    assert not torch.equal(model(x)[:, 10:], model(later % 256)[:, 10:])


def test_rate_goes_up_then_down():
    shares = [train.schedule(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.2)
    assert shares[4] == shares[5] == 1
    assert shares[5:] == sorted(shares[5:], reverse=True)
    assert 0 < shares[-1] < 0.001


def test_curves_of_few_points():
    assert train.means([1.0, 2.0, 3.0]) == [1, 2, 3]
    values = [float(k) for k in range(100)]
    assert train.means(values)[:2] == [0.5, 3]
    assert len(train.means(values)) == train.POINTS
    assert masks.thinned(list(range(100)), 4) == [0, 33, 66, 99]


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
