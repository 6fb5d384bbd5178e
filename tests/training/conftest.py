"""Tiny versions of both tasks, which need no scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiny versions of both tasks, which need no scikit-learn."""
    torch = pytest.importorskip("torch")
    from tiny_runs import STEPS, SWIFT

    from benchmarks.training import __main__ as command
    from benchmarks.training import digits, stdlib, tasks
    from benchmarks.training.runs import BY_NAME
    from benchmarks.training.task import Setting

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
