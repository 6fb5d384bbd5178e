"""The benchmark of training in JAX trains what it says; so does the example."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")
pytest.importorskip("flax")
# The bytes come from the benchmark in PyTorch.
pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.jax_training import __main__ as command  # noqa: E402
from benchmarks.jax_training import timing, train  # noqa: E402
from benchmarks.training import stdlib  # noqa: E402
from benchmarks.training.store import Store  # noqa: E402

SWIFT = train.Run("2:4 STE", 2, 4)
# A last chunk that is shorter than the others would be compiled by itself.
SETTING = train.Setting(width=16, layers=1, steps=2 * train.CHUNK, rate=1e-2)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(stdlib, "HELD_BYTES", 4096)
    monkeypatch.setattr(stdlib, "TRAIN_BYTES", 2_000_000)


def test_a_run_trains_and_tells(small, monkeypatch, tmp_path):
    plan = command.Plan("tiny", "", SETTING, (train.DENSE, SWIFT), 1, 2, rounds=1)
    store = Store(tmp_path)
    report = command.run(plan, store)
    json.dumps(report)
    found = report["runs"]["2:4 STE"]
    assert found["losses"][0][-1] < found["losses"][0][0]
    assert found["values"][0] < 8
    assert [each["step"] for each in found["masks"]["history"]] == [40, 80]
    assert found["masks"]["refreshes"] == 3
    assert found["masks"]["layers"] == 4
    assert found["largest_gap"] == 0
    assert found["tiles"] == found["optimal_tiles"] == (48 * 16 + 16 * 16 + 2 * 64 * 16) / 16
    assert len(report["runs"]["dense"]["values"]) == 2
    worst = max(report["runs"]["dense"]["values"])
    assert found["within_dense"] == (found["mean"] <= worst)
    (timed,) = report["timing"]
    assert timed["rounds"] == len(timed["shares"]) == 1
    assert timed["refresh_share"] < 1
    assert "2:4 STE" in command.text(report)
    # What has a record is not trained again, and what has none is left out where that is asked.
    monkeypatch.setattr(command, "train", None)
    found = command.run(replace(plan, seeds=2), store, done=True)
    assert found["runs"] == report["runs"]
    assert found["timing"] == []
    monkeypatch.setattr(command, "measure", lambda *_: timed)
    assert command.run(plan, store)["runs"] == report["runs"]


def test_without_refreshes_none_is_due(small):
    training = train.Training(SWIFT, 0, SETTING)
    state = timing.without_refreshes(training.state)
    assert int(state[1].clock.next_refresh) == 2**30
    assert int(training.state[1].clock.next_refresh) == 40


def test_the_example():
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "train_jax.py")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": "",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": os.environ["XLA_FLAGS"],
        },
    )
    assert "first/kernel: gap 0, 32 tiles" in done.stdout
    assert "second/kernel: gap 0, 64 tiles" in done.stdout
