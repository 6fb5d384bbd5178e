"""A measurement in a process of its own, with the memory that it takes (Linux)."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

_PROCESS = Path("/proc/self")


def alone(measure: Callable[..., Any], *args: Any) -> Any:
    """What a function returns in a new process, which ends then."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *args).result()


def resident() -> int:
    """Bytes of this process in memory now; the peak starts anew from here."""
    (_PROCESS / "clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> int:
    """The most bytes in memory since :func:`resident`."""
    return _status("VmHWM")


def timed(work: Callable[[], Any]) -> tuple[float, int]:
    """Seconds of some work, and bytes at the peak beyond those before."""
    before, began = resident(), time.perf_counter()
    work()
    return time.perf_counter() - began, peak() - before


def _status(kind: str) -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(kind))
