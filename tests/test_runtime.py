"""Threads, forks, interrupts, caches, and the interpreter instead of the compiler."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import nmflow
from nmflow.compiling.sources import sources_digest, sources_of
from nmflow.problem.workers import run_all

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}

SMALL = """
import numpy as np, nmflow
weights = np.random.default_rng(3).standard_normal((17, 24)).astype(np.float32)
ties = np.floor(weights)
for n, m in ((2, 4), (4, 8)):
    for values in (weights, ties, np.ones((5, 8)), weights * 10.0 ** (50 * ties.astype(float))):
        mask = nmflow.solve(values, n, m)
        print(nmflow.certify(values, mask, n, m).optimal, np.packbits(mask).tobytes().hex())
"""


def run(code, **environment):
    """Run Python with warnings as errors; its output."""
    command = [sys.executable, "-W", "error", "-c", code]
    env = ENVIRONMENT | environment
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_interpreter_gives_the_same_masks():
    """With the JIT off numpy integers warn of overflow, so this tests the bit budget too."""
    compiled = run(SMALL)
    assert "False" not in compiled
    assert run(SMALL, NUMBA_DISABLE_JIT="1") == compiled


def test_the_interpreter_keeps_within_64_bits():
    code = """
import numpy as np
from nmflow.methods.flow.method import solve_tiles
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
from nmflow.methods.flow import method as flow
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


@pytest.mark.parametrize("unwritable", ["/dev/null/cache", "/proc/nowhere"])
def test_no_cache_directory_is_no_error(unwritable, tmp_path):
    """A read-only installation: nothing beside the sources, in the home, or in the named place."""
    package = Path(nmflow.__file__).parent
    copy = tmp_path / "site"
    for path in package.rglob("*.py"):
        target = copy / "nmflow" / path.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        # A file where numba would make its directory: unwritable even for root.
        (target.parent / "__pycache__").touch()
    code = f"import sys; sys.path.insert(0, {str(copy)!r})\n{SMALL}\nprint(nmflow.__file__)"
    out = run(
        code,
        NUMBA_CACHE_DIR=unwritable,
        HOME="/dev/null",
        XDG_CACHE_HOME="/dev/null",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert str(copy) in out
    assert out.count("True") == 8


@pytest.mark.parametrize(
    ("kernel", "made_of", "not_of"),
    [
        (
            "flow.simd_engine.kernel.solve_full_tiles",
            ["problem.ties", "simd.selection_networks", "simd.order_statistics", "compiling.jit"],
            ["methods.network_simplex.simplex", "methods.registry"],
        ),
        (
            "flow.scalar.solve.solve_batch",
            ["problem.ties", "methods.flow.scalar.augmentation"],
            ["methods.flow.simd_engine.kernel", "simd.order_statistics"],
        ),
        (
            "network_simplex.simplex.solve_batch",
            ["methods.network_simplex.tree"],
            ["methods.flow.scalar.solve", "methods.registry"],
        ),
        ("heuristics.entropic.solve_batch", ["simd.vectors"], ["methods.registry"]),
    ],
)
def test_the_cache_knows_when_a_source_changed(kernel, made_of, not_of):
    """numba itself looks at the kernel's own file only."""
    package = Path(nmflow.__file__).parent
    module, _, name = f"methods.{kernel}".rpartition(".")
    home = package.joinpath(*module.split(".")).with_suffix(".py")
    names = {".".join(p.relative_to(package).with_suffix("").parts) for p in sources_of(home)}
    assert {module, *made_of} <= names
    assert not names & set(not_of)
    compiled = getattr(importlib.import_module(f"nmflow.{module}"), name)
    files = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if files is None:
        pytest.skip("kernels are not cached here")
    assert sources_digest(home) in files._source_stamp


FIRST_CALL = """
import numpy as np, nmflow
from nmflow.methods.heuristics import greedy
mask = nmflow.solve(np.ones((4, 4)), 2, 4, "greedy")
assert mask.shape == (4, 4)
print(sum(greedy.solve_batch.stats.cache_hits.values()))
"""


@pytest.fixture(scope="module")
def saved_kernel(tmp_path_factory):
    """A directory with a compiled kernel."""
    folder = tmp_path_factory.mktemp("kernels")
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(folder)) == "0\n"
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(folder)) == "1\n"
    return folder


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [("nbi", truncated), ("nbc", truncated), ("nbc", flipped)],
)
def test_a_damaged_cache_is_compiled_anew_and_mended(suffix, damage, saved_kernel):
    files = list(saved_kernel.rglob(f"*.{suffix}"))
    assert files
    for path in files:
        path.write_bytes(damage(path.read_bytes()))
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(saved_kernel)) == "0\n"
    assert run(FIRST_CALL, NUMBA_CACHE_DIR=str(saved_kernel)) == "1\n"


def test_a_disk_that_is_full_costs_a_warning_but_no_mask(tmp_path):
    """And only one, however many kernels it is."""
    code = f"""
import errno, warnings
from numba.core.caching import IndexDataCacheFile
def refuse(*_):
    raise OSError(errno.ENOSPC, "No space left on device")
IndexDataCacheFile._open_for_write = refuse
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {FIRST_CALL.replace(chr(10), chr(10) + "    ")}
    nmflow.solve(np.ones((4, 4)), 2, 4, "greedy-keep")
for warning in caught:
    print(warning.category.__name__, warning.message)
"""
    hits, *warned = run(code, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert hits == "0"
    assert len(warned) == 1
    assert warned[0].startswith("RuntimeWarning compiled kernels of nmflow can't be saved in")
    assert "No space left on device" in warned[0]
    assert "NUMBA_CACHE_DIR" in warned[0]


def test_one_window_needs_no_thread(monkeypatch, rng):
    """A pool of threads would cost a small matrix more than its mask."""

    def never(*_args, **_options):
        raise AssertionError("made a pool")

    monkeypatch.setattr(sys.modules["nmflow.solve"], "ThreadPoolExecutor", never)
    mask = nmflow.solve(rng.standard_normal((64, 64)), 2, 4, workers=2)
    assert (mask.sum(axis=0) == 32).all()
