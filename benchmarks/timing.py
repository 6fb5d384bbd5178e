"""Clocks, and how calls are timed in turn."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Clock = Callable[[], float]
Spread = dict[str, float]

# A timing that is shorter is made of several calls.
AT_LEAST = 0.01


def cpu_seconds() -> float:
    """Processor time of this process and of those it waited for.

    For work on one core it is the time such a core would take, whatever else the machine does.
    """
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    clock: Clock = cpu_seconds,
    allowance: float = float("inf"),
    fewest: int = 3,
) -> dict[str, list[float]]:
    """Seconds per call, measured in rounds, each call once a round.

    Parameters
    ----------
    calls : mapping of names to callables
        They should have run once already.
    rounds : int
    clock : callable
    allowance : float
        A call that took so many seconds in all sits out the rounds after the first ``fewest``.
    fewest : int

    Returns
    -------
    times : dict of lists
        The k-th time is from the k-th round.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    for number in range(rounds):
        for name, call in calls.items():
            if number >= fewest and spent[name] > allowance:
                continue
            begin = time.perf_counter()
            times[name].append(seconds_per_call(call, clock))
            spent[name] += time.perf_counter() - begin
    return times


def seconds_per_call(call: Callable[[], Any], clock: Clock = time.perf_counter) -> float:
    """Time of one call, by calling until there is enough to measure."""
    count = 0
    begin = clock()
    while True:
        call()
        count += 1
        passed = clock() - begin
        if passed >= AT_LEAST:
            return passed / count


def spread(values: list[float], scale: float = 1) -> Spread:
    """Median, least and greatest."""
    return {
        "median": scale * statistics.median(values),
        "min": scale * min(values),
        "max": scale * max(values),
    }


def ratio(times: list[float], others: list[float]) -> float:
    """Median of one call's times over another's, each pair from the same round."""
    return statistics.median(a / b for a, b in zip(times, others, strict=False))
