"""What calls take on a device, by its own clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from nmflow.torch.accelerating.doctor import device_seconds

ROUNDS = 20


def seconds(
    device: str,
    call: Callable[[], Any],
    rounds: int = ROUNDS,
    before: Callable[[], Any] = lambda: None,
) -> dict[str, float]:
    """Median, least and most of some rounds, after two that warm up; ``before`` does not count."""
    if device.startswith("cuda"):
        taken = device_seconds(call, rounds, before)
    else:
        taken = [_wall(call, before) for _ in range(rounds + 2)][2:]
    return {"median": statistics.median(taken), "min": min(taken), "max": max(taken)}


def _wall(call: Callable[[], Any], before: Callable[[], Any]) -> float:
    before()
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
