"""A measurement in a process of its own, with the memory that it takes."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def alone(measure: Callable[..., Any], *args: Any) -> Any:
    """What a function returns in a new process, which ends then."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *args).result()


def resident() -> int:
    """Bytes of this process in memory now."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most bytes of this process that ever were in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(work: Callable[[], Any]) -> tuple[float, int]:
    """Seconds of some work, and bytes at the peak beyond those before."""
    before, began = resident(), time.perf_counter()
    work()
    return time.perf_counter() - began, peak() - before
