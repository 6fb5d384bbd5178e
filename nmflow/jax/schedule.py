"""A refresh policy inside jit: what is counted as arrays, what is kept as one of a few numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from nmflow.problem.pattern import Pattern
from nmflow.training.policy import Refresh

NEVER = 2**31 - 1
"""A step that no training comes to."""


class Clock(NamedTuple):
    """Where training is on a policy's way; arrays of int32.

    Attributes
    ----------
    step : Array
        Optimizer steps so far.
    next_refresh : Array
        The step that the next refresh is due at.
    interval : Array
        Steps from one refresh to the next.
    until : Array
        The step of the last refresh, from which on masks are frozen.
    """

    step: Any
    next_refresh: Any
    interval: Any
    until: Any


def new_clock(policy: Refresh) -> Clock:
    """At step 0, where masks are solved unless the policy begins later."""
    first = policy.begin or policy.every
    until = NEVER if policy.until is None else policy.until
    return Clock(*(jnp.asarray(each, jnp.int32) for each in (0, first, policy.every, until)))


def is_due(clock: Clock) -> Any:
    """Whether masks are to be solved at this step, which was counted."""
    return (clock.step >= clock.next_refresh) | (clock.step == clock.until)


def is_over(policy: Refresh | None, clock: Clock) -> Any:
    """Whether masks stay as they are: True where that is so at any step."""
    return True if policy is None else clock.step >= clock.until


def after_refresh(policy: Refresh, clock: Clock, flip_rate: Any) -> Clock:
    """The clock with the time of the next refresh."""
    interval = jnp.full_like(clock.interval, policy.every)
    if policy.flip_rate is not None:
        settled = (flip_rate < policy.flip_rate) & (clock.step >= policy.begin + policy.ramp)
        longer = jnp.maximum(jnp.minimum(2 * clock.interval, policy.longest), policy.every)
        interval = jnp.where(settled, longer, interval)
    return clock._replace(next_refresh=clock.step + interval, interval=interval)


class Ramp:
    """What the masks of a pattern keep of every m, stage by stage, as numbers known beforehand.

    Attributes
    ----------
    kept : tuple of int
        All that is ever kept, each once: for each a solver is compiled.
    """

    def __init__(self, policy: Refresh, pattern: Pattern) -> None:
        end = policy.begin + policy.ramp
        # Refreshes come at these steps, and after the ramp at any.
        steps = [*range(policy.begin, end, policy.every), end]
        stages = [policy.kept(step, pattern) for step in steps]
        self.kept = tuple(sorted(set(stages), reverse=True))
        self._steps = np.array(steps, np.int32)
        self._choices = np.array([self.kept.index(each) for each in stages], np.int32)

    def choice(self, step: Any) -> Any:
        """Which of ``kept`` counts at a step, from the first refresh on."""
        stage = jnp.searchsorted(jnp.asarray(self._steps), step, side="right") - 1
        return jnp.asarray(self._choices)[jnp.maximum(stage, 0)]
