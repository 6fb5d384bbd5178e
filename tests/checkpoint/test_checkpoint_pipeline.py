"""Layers are worked at side by side: the next few, in order, and one error ends all."""

import threading
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from safetensors_files import LAYERS, floats, write_raw

import nmflow
from nmflow.checkpoint import layer_job, prune_checkpoint
from nmflow.checkpoint.pipeline import in_order
from nmflow.checkpoint.writing import pieces


class Counted:
    """Work that knows how much of it began, and how much of that was not taken yet."""

    def __init__(self, failing=()):
        self.failing, self.lock = set(failing), threading.Lock()
        self.begun, self.waiting, self.most = [], 0, 0

    def __call__(self, item):
        with self.lock:
            self.begun.append(item)
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        # The later, the sooner it is done.
        time.sleep(0.002 * (20 - item))
        if item in self.failing:
            raise ValueError(item)
        return -item

    def took(self):
        with self.lock:
            self.waiting -= 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_in_order_and_few_are_ahead(threads):
    work, taken = Counted(), []
    for result in in_order(work, range(20), threads, lambda _: 1, 1000):
        taken.append(result)
        time.sleep(0.003)
        work.took()
    assert taken == [-item for item in range(20)]
    assert work.most <= threads + (threads > 1)
    assert threads == 1 or work.most > 2


@pytest.mark.parametrize(("most", "together"), [(3, 1), (8, 2), (100, 4)])
def test_what_is_ahead_is_bounded_by_size_but_never_nothing(most, together):
    work = Counted()
    for _ in in_order(work, range(12), 4, lambda _: 4, most):
        # Let those that were begun arrive.
        time.sleep(0.05)
        work.took()
    assert sorted(work.begun) == list(range(12))
    assert work.most == together + 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_first_error_in_order_ends_it(threads):
    work = Counted(failing={3, 4, 5})
    results = in_order(work, range(20), threads, lambda _: 1, 1000)
    assert [next(results) for _ in range(3)] == [0, -1, -2]
    with pytest.raises(ValueError, match=r"^3$"):
        next(results)
    assert len(work.begun) <= 3 + threads


def test_closing_it_ends_it():
    work = Counted()
    results = in_order(work, range(20), 3, lambda _: 1, 1000)
    next(results)
    results.close()
    assert len(work.begun) <= 4
    assert not [each for each in threading.enumerate() if each.name.startswith("nmflow")]


def without_times(report):
    layers = tuple(replace(layer, seconds=0) for layer in report.layers)
    return replace(report, target="", layers=layers, seconds=0, kernel_seconds=0, sample=None)


def test_file_and_report_do_not_depend_on_workers(model, tmp_path):
    files, reports = set(), []
    for workers in (1, 2, 5):
        path = tmp_path / f"{workers}.safetensors"
        report = prune_checkpoint(model, path, 2, 4, "greedy", workers=workers)
        reports.append(without_times(replace(report, kernels=None)))
        files.add(path.read_bytes())
    assert len(files) == 1
    assert reports[0] == reports[1] == reports[2]


@pytest.mark.parametrize(("entries", "workers"), [(1 << 26, 1), (300, 3)])
def test_large_layers_have_all_threads_small_ones_one_each(
    model, target, monkeypatch, entries, workers
):
    real, seen = nmflow.solve, []

    def spy(*args, **options):
        seen.append(options["workers"])
        return real(*args, **options)

    monkeypatch.setattr(nmflow, "solve", spy)
    monkeypatch.setattr(pieces, "ALONE_ENTRIES", entries)
    prune_checkpoint(model, target, 2, 4, "greedy", workers=3, compare=False)
    # Before, kernels are loaded by a small matrix of each kind.
    assert seen[-len(LAYERS) :] == [workers] * len(LAYERS)


def test_layers_are_worked_at_together(model, target, monkeypatch):
    """Each waits for another one to begin."""
    met = threading.Barrier(2, timeout=20)
    real = layer_job.read_bits

    def meet(*args):
        met.wait()
        return real(*args)

    monkeypatch.setattr(layer_job, "read_bits", meet)
    names = ["blocks.10.fc1.weight", "blocks.2.fc1.weight"]
    report = prune_checkpoint(model, target, 2, 4, "greedy", workers=2, include=names)
    assert len(report.layers) == 2


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_one_bad_layer_ends_all_and_leaves_nothing(tmp_path, target, workers):
    bad = np.ones((64, 64), np.float32)
    bad[3, 5] = np.nan
    tensors = {f"{k:02}.weight": floats("F32", (64, 64)) for k in range(12)}
    for name in ("04.weight", "05.weight", "07.weight"):
        tensors[name] = ("F32", bad.shape, bad.tobytes())
    source = write_raw(tmp_path / "in.safetensors", tensors)
    told = []
    with pytest.raises(nmflow.NmflowError, match=r"layer '04\.weight': .*nan.*\(3, 5\)"):
        prune_checkpoint(
            *(source, target, 2, 4, "greedy"),
            workers=workers,
            progress=lambda what, *_: told.append(what),
        )
    assert told[-1] == "04.weight"
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_memory_does_not_grow_with_the_number_of_layers_side_by_side(tmp_path, target):
    layer = 512 * 512 * 4

    def peak(count):
        tensors = {f"l.{i}.weight": floats("F32", (512, 512)) for i in range(count)}
        source = write_raw(tmp_path / f"{count}.safetensors", tensors)
        tracemalloc.start()
        try:
            prune_checkpoint(source, target, 2, 4, "greedy", overwrite=True, workers=2)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # compiles
    # How much the two threads' work overlaps is a matter of chance.
    assert peak(24) < peak(3) + 8 * layer
