"""Killed at any moment, and gone on with: the same bytes and the same report; nothing half-done."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rich")
save_file = pytest.importorskip("safetensors.numpy").save_file

from nmflow.checkpoint.writing.work_folder import WorkFolder  # noqa: E402

# Slow, and noted at once, so that there is something to interrupt.
SLOWLY = """
import signal, sys, time
# As in a terminal: what runs in the background may have been told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from nmflow.checkpoint.writing import stream
stream.NOTED_EVERY = 0
real = stream.write
def write(file, data):
    real(file, data)
    time.sleep(0.01)
stream.write = write
from nmflow import cli
sys.exit(cli.main(sys.argv[1:]))
"""
LAYERS = 40


@pytest.fixture
def folder_model(tmp_path):
    """Two shards, with what goes along."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    folder.mkdir()
    entries = {}
    for shard in range(2):
        name = f"model-{shard}.safetensors"
        tensors = {
            f"{shard}.{k}.weight": rng.standard_normal((64, 64)).astype(np.float32)
            for k in range(LAYERS // 2)
        }
        save_file(tensors, folder / name)
        entries |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": entries}))
    (folder / "config.json").write_text("{}")
    return folder


def contents(path):
    if path.is_file():
        return path.read_bytes()
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*.*"))}


def start(source, target, *options):
    command = [sys.executable, "-c", SLOWLY, "prune", source, target, "-n", "4", "-m", "8"]
    command += ["--quiet", "--no-compare", "--json", target.with_suffix(".json"), *options]
    return subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)


def without_times(path):
    report = json.loads(path.read_text())
    for part in (report, *report["layers"]):
        for key in ("seconds", "solve_seconds", "kernel_seconds", "bytes_resumed", "target"):
            part.pop(key, None)
    return report


def work_folder(target):
    return target.parent / f".{target.name}.nmflow-partial"


def run_for(process, target, seconds, layers=0):
    """Wait until so many layers are noted, then for so long; whether it ended by itself."""
    journal, end = work_folder(target) / "journal.jsonl", time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if journal.exists() and journal.read_text().count('"layer"') >= layers:
            break
        time.sleep(0.005)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def kill_until_done(source, tmp_path, suffix, kills, seed):
    rng = random.Random(seed)
    undisturbed, target = tmp_path / f"whole{suffix}", tmp_path / f"killed{suffix}"
    process = start(source, undisturbed)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    killed = 0
    while True:
        process = start(source, target, "--resume")
        if killed < kills and not run_for(process, target, rng.uniform(0, 0.8)):
            process.kill()
            process.communicate()
            killed += 1
            # Under the final name there is nothing, or all of it.
            assert not target.exists() or contents(target) == contents(undisturbed)
            continue
        _, error = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        # Killed after the last step, and with nothing left to go on from.
        assert "it exists" in error
        assert not work_folder(target).exists()
        break
    assert contents(target) == contents(undisturbed)
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if "partial" in name]
    if process.returncode == 0:
        assert without_times(target.with_suffix(".json")) == without_times(
            undisturbed.with_suffix(".json")
        )
    return killed


def test_killed_a_few_times(folder_model, tmp_path):
    assert kill_until_done(folder_model, tmp_path, "", 3, 0) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "safetensors", "torch"])
def test_killed_twenty_times_in_a_row(folder_model, tmp_path, kind):
    source, suffix = folder_model, ""
    if kind != "folder":
        rng = np.random.default_rng(0)
        tensors = {
            f"{k}.weight": rng.standard_normal((64, 64)).astype(np.float32)
            for k in range(10 * LAYERS)
        }
        suffix = ".safetensors"
        source = tmp_path / f"model{suffix}"
        if kind == "torch":
            torch = pytest.importorskip("torch")
            suffix, source = ".pth", tmp_path / "model.pth"
            torch.save({name: torch.from_numpy(part) for name, part in tensors.items()}, source)
        else:
            save_file(tensors, source)
    kill_until_done(source, tmp_path, suffix, 20, 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_end(folder_model, tmp_path, number, code):
    target = tmp_path / "out"
    process = start(folder_model, target)
    assert not run_for(process, target, 0, layers=3)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    word = {143: "terminated", 130: "interrupted"}[code]
    assert error.startswith(f"nmflow: {word}; what is done is kept in ")
    assert error.count("\n") == 1
    assert not target.exists()
    # Not gone on with by chance, nor thrown away.
    process = start(folder_model, target)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--resume goes on from there, --force starts over" in error
    process = start(folder_model, target, "--resume", "--exclude", "1.*")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "it was begun with another layers" in error
    process = start(folder_model, target, "--resume")
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    report = json.loads(target.with_suffix(".json").read_text())
    assert report["bytes_resumed"] > 0
    assert len(report["layers"]) == LAYERS
    assert not work_folder(target).exists()


def test_two_runs_at_once(folder_model, tmp_path):
    target = tmp_path / "out"
    with WorkFolder(target):
        process = start(folder_model, target, "--force")
        _, error = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "another run is writing it" in error
    assert start(folder_model, target).communicate(timeout=60)[1] == ""
    assert len(contents(target)) == 4
    assert not work_folder(target).exists()


def test_force_starts_over(folder_model, tmp_path):
    target = tmp_path / "out"
    process = start(folder_model, target)
    assert not run_for(process, target, 0, layers=3)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    process = start(folder_model, target, "--force")
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    assert json.loads(target.with_suffix(".json").read_text())["bytes_resumed"] == 0
    assert not work_folder(target).exists()
