"""Clocks, and how calls are timed in turn."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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


class Times(NamedTuple):
    """What a call took, round by round.

    Attributes
    ----------
    seconds : list of float
        Per call.
    ratios : list of float
        To the base's median of the same round.
    """

    seconds: list[float]
    ratios: list[float]


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    base: str,
    rounds: int,
    *,
    clock: Clock = cpu_seconds,
    allowance: float = float("inf"),
    fewest: int = 3,
) -> dict[str, Times]:
    """Time calls in rounds, each call once a round and the base before every one of them.

    Parameters
    ----------
    calls : mapping of names to callables
        They should have run once already.
    base : str
        The call that the others are compared with.
    rounds : int
    clock : callable
    allowance : float
        A call that took so many seconds in all sits out the rounds after the first ``fewest``.
    fewest : int
    """
    times = {name: Times([], []) for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    for number in range(rounds):
        took: dict[str, float] = {}
        beside: list[float] = []
        for name, call in calls.items():
            if number >= fewest and spent[name] > allowance:
                continue
            beside.append(seconds_per_call(calls[base], clock))
            if name != base:
                begin = time.perf_counter()
                took[name] = seconds_per_call(call, clock)
                spent[name] += time.perf_counter() - begin
        times[base].seconds.extend(beside)
        for name, seconds in took.items():
            times[name].seconds.append(seconds)
            times[name].ratios.append(seconds / statistics.median(beside))
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
