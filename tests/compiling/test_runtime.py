"""Threads, forks, interrupts, and the interpreter instead of the compiler."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from processes import SMALL, run

import nmflow
from nmflow.problem import workers
from nmflow.problem.workers import run_all


def test_the_interpreter_gives_the_same_masks():
    """With the JIT off numpy integers warn of overflow, so this tests the bit budget too."""
    compiled = run(SMALL)
    assert "False" not in compiled
    assert run(SMALL, NUMBA_DISABLE_JIT="1") == compiled


def test_the_interpreter_keeps_within_64_bits():
    code = """
import numpy as np
from nmflow.solvers.flow.method import solve_tiles
rng = np.random.default_rng(0)
for n, m, count in ((2, 4, 40), (1, 4, 40), (3, 8, 10), (8, 16, 2), (16, 32, 1)):
    scores = rng.choice([-1.0, 1.0], (count, m, m)) * (1 - 2.0**-53)
    solve_tiles(scores, n, True)
    solve_tiles(10.0 ** rng.uniform(-12, 0, (count, m, m)), n, True)
    solve_tiles(rng.choice([-1.0, 1.0], (count, m - 1, m)), n, False)
"""
    run(code, NUMBA_DISABLE_JIT="1")


def test_concurrent_calls(rng):
    weights = rng.standard_normal((12, 128, 128))
    expected = [nmflow.solve(w, 4, 8, workers=1) for w in weights]
    with ThreadPoolExecutor(6) as pool:
        masks = list(pool.map(lambda w: nmflow.solve(w, 4, 8), weights))
    for mask, same in zip(masks, expected, strict=True):
        np.testing.assert_array_equal(mask, same)


def _solve_in_child(weights, connection):
    connection.send(nmflow.solve(weights, 4, 8))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_fork_after_a_call(rng):
    weights = rng.standard_normal((256, 256))
    mask = nmflow.solve(weights, 4, 8, workers=2)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_solve_in_child, args=(weights, there))
    child.start()
    assert here.poll(60)
    np.testing.assert_array_equal(here.recv(), mask)
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_stops_the_work(workers):
    code = f"""
import signal, time
import numpy as np, nmflow
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
from nmflow.solvers.flow import method as flow
begun, solve_window = [], flow.solve_window
def solve_slowly(*window):
    begun.append(window)
    if len(begun) == 3:
        print("ready", flush=True)
    solve_window(*window)
    time.sleep(0.2)
flow.solve_window = solve_slowly
try:
    nmflow.solve(np.zeros((64, 1024, 1024), np.float16), 4, 8, workers={workers})
except KeyboardInterrupt:
    print("interrupted", len(begun) < 64, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted True\n"
    assert process.returncode == 0


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_item_once_and_the_caller_does_its_share(threads):
    """A caller that only waits takes the processor from those that work, once for each item."""
    done = []
    all_here = threading.Barrier(threads)

    def work(item):
        if item < threads:
            all_here.wait(60)
        done.append((item, threading.get_ident()))

    run_all(work, range(40), threads)
    assert sorted(item for item, _ in done) == list(range(40))
    workers = {thread for _, thread in done}
    assert threading.get_ident() in workers
    assert len(workers) == threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("caller", [False, True])
def test_an_error_stops_what_has_not_begun(threads, caller):
    begun = []
    caller_thread, all_here = threading.get_ident(), threading.Barrier(threads)

    def work(item):
        begun.append(item)
        if item < threads:
            all_here.wait(60)
            mine = threading.get_ident() == caller_thread
            if mine == caller or threads == 1:
                raise ArithmeticError(item)
            time.sleep(0.5)

    with pytest.raises(ArithmeticError):
        run_all(work, range(40), threads)
    assert sorted(begun) == list(range(threads))


def test_one_window_needs_no_thread(monkeypatch, rng):
    """A pool of threads would cost a small matrix more than its mask."""

    def never(*_args, **_options):
        raise AssertionError("made a pool")

    monkeypatch.setattr(workers, "ThreadPoolExecutor", never)
    mask = nmflow.solve(rng.standard_normal((64, 64)), 2, 4, workers=2)
    assert (mask.sum(axis=0) == 32).all()
