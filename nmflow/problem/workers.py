"""Workers: how many threads a call may use, and work shared out among them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from nmflow.errors import NmflowError
from nmflow.problem.pattern import as_integer


def run_all(work: Any, items: Iterable[Any], threads: int) -> None:
    """Call ``work`` on each item; the first error, or an interrupt, stops what has not begun.

    The calling thread is one of the threads: were it to wait for others, it would wake up once for
    each item, on a core that has work to do.
    """
    waiting = deque(items)

    def drain() -> None:
        with _emptied_by_errors(waiting):
            while True:
                try:
                    item = waiting.popleft()
                except IndexError:
                    return
                work(item)

    others = min(threads, len(waiting)) - 1
    if others < 1:
        drain()
        return
    # A pool per call: nothing is left behind that a fork could inherit half-alive.
    with (
        ThreadPoolExecutor(others, thread_name_prefix="nmflow") as pool,
        _emptied_by_errors(waiting),
    ):
        futures = [pool.submit(drain) for _ in range(others)]
        drain()
        for future in futures:
            future.result()


def run_or_raise_first(work: Any, items: Iterable[Any], threads: int) -> None:
    """As :func:`run_all`, of work that can be done twice: the error is the first in order.

    With several threads it is whichever one came upon first.
    """
    every = list(items)
    try:
        run_all(work, every, threads)
    except NmflowError:
        run_all(work, every, 1)
        raise


@contextmanager
def _emptied_by_errors(waiting: deque[Any]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        waiting.clear()
        raise


def thread_count(workers: int | None) -> int:
    """How many threads ``workers`` asks for."""
    if workers is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    threads = as_integer("workers", workers)
    if threads < 1:
        raise NmflowError(f"workers must be None (all cores) or an integer >= 1, got {workers!r}")
    return threads
