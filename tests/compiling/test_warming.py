"""Samples stand for large matrices, and the list of what to compile is what was asked for."""

import numpy as np
import pytest

import nmflow
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.pattern import Pattern
from nmflow.problem.tiling import windows
from nmflow.warming import processes
from nmflow.warming.processes import Warmed, summary
from nmflow.warming.sample import load_kernels, sample_shape


def kinds(shape, m):
    """Shapes of tiles, and whether there are enough of them for a batch."""
    counts = {}
    for window in windows((1, *shape), (m, m)):
        counts[window.tile] = counts.get(window.tile, 0) + window.count
    return {(tile, count >= 8) for tile, count in counts.items()}


@pytest.mark.parametrize("m", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("rows", [5, 64, 1000, 4097])
@pytest.mark.parametrize("columns", [7, 40, 768, 3001])
def test_a_sample_has_the_tiles_of_the_large_matrix(rows, columns, m):
    small = sample_shape(rows, columns, m)
    assert kinds(small, m) == kinds((rows, columns), m)
    assert max(small) <= 10 * m
    # Matrices that the engine reads in place are still wide enough for that.
    assert min(small[1], 16) == min(columns, 16)


def test_samples_of_huge_tiles_are_small():
    assert max(sample_shape(8192, 8192, 256)) <= 512


def test_bfloat16_needs_no_package(monkeypatch):
    real, seen = MatrixBatch.of, []

    def spy(weights, *args):
        batch = real(weights, *args)
        seen.append((batch.host.bfloat16, batch.matrices.dtype))
        return batch

    monkeypatch.setattr(MatrixBatch, "of", spy)
    assert load_kernels((9, 9), "bfloat16", Pattern(2, 4), "greedy", "abs") > 0
    assert set(seen) == {(True, np.dtype(np.uint16))}


@pytest.fixture
def jobs(monkeypatch):
    """What would be compiled, process by process."""
    seen = []

    def pretend(job, method, score):
        seen.append([task.what for task in job])
        for task in job:
            yield Warmed(task.what, 1, 0, 0.5, "/kernels")

    monkeypatch.setattr(processes, "_in_a_process", pretend)
    return seen


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, [["2:4 float32", "2:4 float16"], ["4:8 float32", "4:8 float16"]]),
        (4, [["2:4 float32"], ["2:4 float16"], ["4:8 float32"], ["4:8 float16"]]),
    ],
)
def test_processes_by_pattern_unless_cores_are_left(jobs, workers, expected):
    warmed = nmflow.warmup([(2, 4), "4:8", "2:4"], ["float32", np.float16], workers=workers)
    assert sorted(jobs) == sorted([["tiles left over, all patterns"], *expected])
    assert [each.what for each in warmed][1:] == [what for job in expected for what in job]


def test_approximate_methods_leave_no_tiles_over(jobs):
    told = []
    warmed = nmflow.warmup(["1:4"], ["int8"], method=nmflow.Greedy(), progress=told.append)
    assert jobs == [["1:4 int8"]]
    assert tuple(told) == warmed


def test_nothing_asked_for(jobs):
    assert nmflow.warmup([], []) == ()
    assert jobs == []


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["/a", "/a"], "They are there now, in /a."),
        (["/b", "/a"], "in /a, /b."),
        (["/a", None], "Not all kernels could be kept"),
    ],
)
def test_the_last_line(monkeypatch, folders, words):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert words in summary([Warmed("x", 1, 0, 1.0, folder) for folder in folders])
