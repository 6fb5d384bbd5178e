"""Where training is on the way of a refresh policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nmflow.errors import NmflowError
from nmflow.training.policy import Refresh


class Clock:
    """Where training is on a policy's way."""

    def __init__(self, policy: Refresh) -> None:
        self.policy = policy
        self.step = 0
        self.interval = policy.every
        self.next = self._next()

    def tick(self) -> bool:
        """Count a step; whether masks are due."""
        self.step += 1
        return self.step >= self.next or self.over

    @property
    def over(self) -> bool:
        """Whether the last refresh has come."""
        return self.policy.until is not None and self.step >= self.policy.until

    def refreshed(self, flip_rate: float) -> None:
        """Set the time of the next refresh."""
        policy = self.policy
        settled = policy.flip_rate is not None and flip_rate < policy.flip_rate
        if settled and self.step >= policy.begin + policy.ramp:
            self.interval = max(min(2 * self.interval, policy.longest), policy.every)
        else:
            self.interval = policy.every
        self.next = self._next()

    def resume(self, policy: Refresh | None) -> None:
        """Go on by a new policy, or by the old one without its end; due at the next step."""
        self.policy = policy or replace(self.policy, until=None)
        self.interval = self.policy.every
        self.next = self.step + 1

    def _next(self) -> int:
        begin = self.policy.begin
        return begin if self.step < begin else self.step + self.interval

    def state_dict(self) -> dict[str, Any]:
        """Plain integers; ``until`` is 0 where there is no last refresh."""
        until = self.policy.until or 0
        return {"step": self.step, "interval": self.interval, "next": self.next, "until": until}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, or raise and stay as it was."""
        if lacking := sorted(self.state_dict().keys() - state.keys()):
            raise NmflowError(f"the state's clock lacks {', '.join(lacking)}")
        self.step, self.interval, self.next = (
            int(state[name]) for name in ("step", "interval", "next")
        )
        if not state["until"]:
            self.policy = replace(self.policy, until=None)
