"""The last refreshes, and which of them nobody knows yet whether they came to anything."""

from __future__ import annotations

import time
from collections.abc import Mapping

from nmflow.errors import NmflowError
from nmflow.torch.solving.joint import Outcome
from nmflow.torch.solving.statistics import LayerStatistics, RefreshStatistics

_LONGEST = 100  # refreshes that are remembered: a few hundred bytes a layer each


class History(list[RefreshStatistics]):
    """The last hundred refreshes, without those that turned out to have changed nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[Outcome] = []

    def note(
        self, step: int, layers: Mapping[str, LayerStatistics], began: float
    ) -> RefreshStatistics | None:
        """Note a refresh, whose outcome may be on its way; none where nothing was solved."""
        if not layers:
            return None
        statistics = RefreshStatistics(step, layers, time.perf_counter() - began)
        self.append(statistics)
        del self[:-_LONGEST]
        if isinstance(layers, Outcome):
            self._open.append(layers)
        return statistics

    def settle(self, wait: bool = True) -> None:
        """Learn what refreshes came to, those alone that are known by now unless it may ``wait``.

        Raises
        ------
        NmflowError
            Of the first that changed nothing.
        """
        while self._open and (wait or self._open[0].ready()):
            outcome = self._open.pop(0)
            try:
                outcome.look()
            except NmflowError:
                self[:] = [each for each in self if each.layers is not outcome]
                raise
