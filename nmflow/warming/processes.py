"""Kernels for several patterns and dtypes, compiled in processes side by side.

numba compiles under one lock, so threads would wait for each other. Processes meet in the cache:
what one has compiled the next one loads.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from nmflow.errors import NmflowError
from nmflow.problem.arrays import MAX_BYTES, SUPPORTED
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName, check_score
from nmflow.problem.workers import run_all, thread_count
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import find_method
from nmflow.warming.sample import Kernels, Purpose, load_kernels, sample_shape

if TYPE_CHECKING:
    import subprocess

PATTERNS = ("2:4", "4:8", "8:16")
DTYPES = ("float32", "bfloat16")

_CHILD = """
import json, sys
order = json.load(sys.stdin)
sys.path[:] = order.pop("path")
from nmflow.warming.processes import work_off
work_off(**order)
"""


@dataclass(frozen=True, slots=True)
class Warmed:
    """Kernels that are there now.

    Attributes
    ----------
    what : str
        What they are for: a pattern and a dtype, or what all patterns share.
    compiled, loaded : int
        How many were compiled now, and how many had been on the disk.
    seconds : float
        What that took.
    folder : str or None
        The directory that they are kept in; None if they can't be, so that compiling them was
        for nothing.
    """

    what: str
    compiled: int
    loaded: int
    seconds: float
    folder: str | None

    def __str__(self) -> str:
        count = self.compiled + self.loaded
        if not count:
            return f"{self.what}: no kernels"
        done = f"{self.compiled} compiled, {self.loaded} loaded, in {self.seconds:.1f} s"
        return f"{self.what}: {done}{'' if self.folder else ', but can not be kept'}"


def summary(warmed: Iterable[Warmed]) -> str:
    """Where the kernels are now, in a line."""
    needed = [each for each in warmed if each.compiled + each.loaded]
    folders = sorted({each.folder for each in needed if each.folder})
    if not needed:
        return "No kernels are needed."
    if not folders or not all(each.folder for each in needed):
        return (
            "Not all kernels could be kept, so they will be compiled again: set NUMBA_CACHE_DIR to"
            " a directory that can be written to."
        )
    asked = os.environ.get("NUMBA_CACHE_DIR")
    note = f" ({asked}, the NUMBA_CACHE_DIR, can't be written to)" if asked else ""
    return f"They are there now, in {', '.join(folders)}{'' if folders == [asked] else note}."


@dataclass(frozen=True, slots=True)
class _Task:
    """A sample to solve."""

    what: str
    n: int
    m: int
    dtype: str
    shape: tuple[int, int]
    purpose: Purpose


def warmup(
    patterns: Iterable[str | tuple[int, int]] = PATTERNS,
    dtypes: Iterable[Any] = DTYPES,
    *,
    method: str | Method = "flow",
    score: ScoreName = "abs",
    ragged: bool = True,
    purpose: Purpose = "solve",
    workers: int | None = None,
    progress: Callable[[Warmed], None] | None = None,
) -> tuple[Warmed, ...]:
    """Compile the kernels of patterns and dtypes now, so that no first call has to.

    They are kept where numba's cache is, in ``NUMBA_CACHE_DIR`` if that is set, for this version of
    nmflow, numba and Python, the path it is installed in, and the processor's name and features
    (``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` say others). numba passes over directories that
    can't be written to, whatever is there.

    Parameters
    ----------
    patterns : iterable of str or pair of int
        Such as ``"4:8"`` or ``(4, 8)``.
    dtypes : iterable of str or dtype
        Of the weights. Matrices of fewer than 16 columns are copied, and those of 16-bit dtypes
        then take the kernels of float32.
    method, score
        As for :func:`nmflow.solve`.
    ragged : bool
        Whether for shapes as well that m does not divide.
    purpose : {"solve", "train", "prune"}
        For :func:`nmflow.solve` and :func:`nmflow.certify`; for :class:`nmflow.Tracker` too, and
        so for training; or for whole models alone, as ``nmflow prune`` does them.
    workers : int, optional
        Processes; by default as many as there are cores.
    progress : callable, optional
        ``progress(warmed)``, as each is done.

    Returns
    -------
    tuple of Warmed
        One for each pattern and dtype; and for ``flow`` one for what solves the tiles that are
        left over, of all patterns.

    Raises
    ------
    NmflowError
        For a pattern, dtype or option that makes no sense, or where a process ends early.
    """
    check_score(score)
    if purpose not in get_args(Purpose):
        known = ", ".join(map(repr, get_args(Purpose)))
        raise NmflowError(f"purpose {purpose!r} is none: use one of {known}")
    name = find_method(method).name
    wanted = list(dict.fromkeys(_pattern(each) for each in patterns))
    kinds = list(dict.fromkeys(_dtype(each) for each in dtypes))
    threads = thread_count(workers)
    tasks = [_task(pattern, dtype, ragged, purpose) for pattern in wanted for dtype in kinds]
    # Of one pattern one process compiles all dtypes, which is quicker, unless cores are left over.
    parts = max(1, threads // max(len(wanted), 1))
    jobs = [
        [task for task in tasks if (task.n, task.m) == (pattern.n, pattern.m)][part::parts]
        for pattern in wanted
        for part in range(parts)
    ]
    if name == "flow" and tasks:
        jobs.insert(0, [_LEFT_OVER])
    done: dict[str, Warmed] = {}
    lock = threading.Lock()

    def work(job: Sequence[_Task]) -> None:
        for warmed in _in_a_process(job, name, score):
            with lock:
                done[warmed.what] = warmed
                if progress is not None:
                    progress(warmed)

    run_all(work, filter(None, jobs), threads)
    return tuple(done[task.what] for job in jobs for task in job)


# Tiles along a side of the matrices that samples stand for.
_LARGE = 1 << 10
# A partial tile, and no full one: the scalar stages alone, which are the same for all patterns.
_LEFT_OVER = _Task("tiles left over, all patterns", 2, 4, "float64", (3, 3), "solve")


def _pattern(given: str | tuple[int, int]) -> Pattern:
    parts = given.split(":") if isinstance(given, str) else given
    try:
        n, m = (int(part) if isinstance(part, str) else part for part in parts)
    except (TypeError, ValueError):
        raise NmflowError(f"pattern {given!r} is not n:m: write it as 4:8") from None
    return Pattern(n, m)


def _dtype(given: Any) -> str:
    """A dtype's name, as numpy says it."""
    name = given if isinstance(given, str) else getattr(given, "__name__", str(given))
    name = name.removeprefix("torch.")
    if name == "bfloat16":
        return name
    try:
        dtype = np.dtype(name)
    except TypeError:
        near = difflib.get_close_matches(name, (*DTYPES, "float16", "float64", "int8"), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise NmflowError(f"unknown dtype {name!r}{hint} (use {SUPPORTED})") from None
    if dtype.kind not in "biuf" or dtype.itemsize > MAX_BYTES:
        raise NmflowError(f"dtype {name!r} can't be masked: use {SUPPORTED}")
    return dtype.name


def _task(pattern: Pattern, dtype: str, ragged: bool, purpose: Purpose) -> _Task:
    n, m = pattern.n, pattern.m
    size = _LARGE * m + (ragged and m > 1)
    return _Task(f"{n}:{m} {dtype}", n, m, dtype, sample_shape(size, size, m), purpose)


def _in_a_process(job: Sequence[_Task], method: str, score: str) -> Iterator[Warmed]:
    """Solve these samples in one process of their own."""
    # As long to import as the rest of nmflow, and needed here alone.
    import subprocess
    from tempfile import TemporaryFile

    order = {"path": sys.path, "tasks": [asdict(task) for task in job]}
    order |= {"method": method, "score": score}
    with TemporaryFile("w+") as complaints:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        with process:
            try:
                yield from _listen(process, order)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            complaints.seek(0)
            last = (complaints.read().splitlines() or [f"exit status {process.returncode}"])[-1]
            raise NmflowError(f"the process that compiled for {job[0].what} ended early: {last}")


def _listen(process: subprocess.Popen[str], order: dict[str, Any]) -> Iterator[Warmed]:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError), process.stdin as stdin:
        json.dump(order, stdin)
    for line in process.stdout:
        told = json.loads(line)
        for warning in told["warnings"]:
            warnings.warn(warning, RuntimeWarning, stacklevel=2)
        if told["error"] is not None:
            raise NmflowError(f"{told['what']}: {told['error']}")
        yield Warmed(**told["warmed"])


def work_off(tasks: Sequence[dict[str, Any]], method: str, score: ScoreName) -> None:
    """Solve samples in this process, and tell on standard output what came of each."""
    # It needs numba, which the process that asked does not.
    from nmflow.compiling.sparing import compile_at_once

    compile_at_once()
    kept = True
    for fields in tasks:
        task = _Task(**fields)
        told: dict[str, Any] = {"what": task.what, "error": None}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                told["warmed"] = asdict(_solve_sample(task, method, score))
            except NmflowError as error:
                told["error"] = str(error)
        told["warnings"] = [str(each.message) for each in caught]
        # A process warns once that it can't write.
        kept = kept and not caught
        if not kept and told["error"] is None and told["warmed"]["compiled"]:
            told["warmed"]["folder"] = None
        print(json.dumps(told), flush=True)


def _solve_sample(task: _Task, method: str, score: ScoreName) -> Warmed:
    before = Kernels.so_far()
    rows, columns = task.shape
    seconds = load_kernels(
        *((rows, columns), task.dtype, Pattern(task.n, task.m), method, score),
        purpose=task.purpose,
    )
    kernels = Kernels.so_far().since(before)
    return Warmed(task.what, kernels.compiled, kernels.loaded, seconds, kernels.folder)
