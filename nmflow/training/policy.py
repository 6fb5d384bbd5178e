"""When masks are solved anew, and how many entries they keep by then."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern, as_integer


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh policy; steps are optimizer steps.

    Parameters
    ----------
    every : int, default 40
        Steps from one refresh to the next (Hubara et al. take 40).
    begin : int, default 0
        Train dense until this step.
    ramp : int, default 0
        From ``begin`` on, lower what is kept of every m from m to n in this many steps. The masks
        of each stage are exact for that stage.
    schedule : {"linear", "cubic"} or callable, default "linear"
        How the ramp goes: the share of the way from m to n that is done when a share of the
        ramp's steps is. ``cubic`` prunes fast at first, 1 - (1 - share)^3 (Zhu & Gupta, "To
        prune, or not to prune", arXiv:1710.01878); a callable maps [0, 1] to [0, 1].
    until : int, optional
        Refresh at this step for the last time, and freeze.
    flip_rate : float, optional
        After a refresh that flips less than this share of all entries wait twice as long, up to
        ``longest`` steps; after any other wait ``every`` steps again. Not before the ramp ends.
    longest : int, default 1000
        Used with ``flip_rate`` alone.

    Raises
    ------
    NmflowError
        For steps or rates that make no sense.
    """

    every: int = 40
    begin: int = 0
    ramp: int = 0
    schedule: str | Callable[[float], float] = "linear"
    until: int | None = None
    flip_rate: float | None = None
    longest: int = 1000

    def __post_init__(self) -> None:
        least = {"every": 1, "begin": 0, "ramp": 0, "longest": 1}
        if self.until is not None:
            least["until"] = 1
        for label, low in least.items():
            steps = as_integer(label, getattr(self, label))
            if steps < low:
                raise NmflowError(f"Refresh: {label} must be at least {low} steps, got {steps}")
        if self.until is not None and self.until < self.begin + self.ramp:
            raise NmflowError(
                f"Refresh: until={self.until} comes before the ramp ends at step"
                f" {self.begin + self.ramp}: make it later, or begin and ramp shorter"
            )
        if not callable(self.schedule) and self.schedule not in _SCHEDULES:
            raise NmflowError(
                f"Refresh: unknown schedule {self.schedule!r}: choose {', '.join(_SCHEDULES)}, or"
                " a function from [0, 1] to [0, 1]"
            )
        if self.flip_rate is not None and not 0 < self.flip_rate < 1:
            raise NmflowError(f"Refresh: flip_rate must be between 0 and 1, got {self.flip_rate}")

    def kept(self, step: int, pattern: Pattern) -> int:
        """How many of every m the masks of this step keep."""
        if step < self.begin:
            return pattern.m
        if step >= self.begin + self.ramp:
            return pattern.n
        schedule = self.schedule if callable(self.schedule) else _SCHEDULES[self.schedule]
        share = (step - self.begin) / self.ramp
        done = float(schedule(share))
        if not 0 <= done <= 1:
            raise NmflowError(f"Refresh: schedule({share:.4g}) must be in [0, 1], got {done}")
        return pattern.m - math.floor((pattern.m - pattern.n) * done)

    def stages(self, pattern: Pattern) -> set[int]:
        """All that :meth:`kept` gives at the steps of refreshes, of which solvers are compiled."""
        end = self.begin + self.ramp
        steps = range(self.begin, end, self.every) if self.begin < end else range(0)
        return {self.kept(step, pattern) for step in (*steps, end)}


_SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    "cubic": lambda share: 1 - (1 - share) ** 3,
}


def as_refresh(refresh: int | Refresh) -> Refresh:
    """The policy that a number of steps or an object stands for."""
    if isinstance(refresh, Refresh):
        return refresh
    return Refresh(every=as_integer("refresh", refresh))
