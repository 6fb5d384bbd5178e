"""Masks of a run: put on, kept up, timed, certified after the last refresh."""

from __future__ import annotations

import math
import time
from typing import Any

from torch import nn

import nmflow.torch
from benchmarks.training.runs import Run

# Refreshes that a record keeps.
POINTS = 40


class Masks:
    """The masks of a model under a run; of none under the dense run.

    Parameters
    ----------
    model : torch.nn.Module
    run : Run
    dense : tuple of str
        Modules left alone.
    steps : int
        The last step refreshes and freezes, so that it is the last masks that are evaluated.
    workers : int, optional
        Threads of a refresh.
    """

    def __init__(
        self,
        model: nn.Module,
        run: Run,
        dense: tuple[str, ...],
        steps: int,
        workers: int | None = 1,
    ) -> None:
        self.handle: nmflow.torch.Handle | None = None
        self.run = run
        self.history: list[nmflow.torch.RefreshStatistics] = []
        self.seconds = 0.0
        self.certificates: dict[str, Any] = {}
        self.certify_seconds = 0.0
        if not run.m:
            return
        refresh = nmflow.torch.Refresh(every=run.every, until=steps) if run.every else None
        begin = time.perf_counter()
        self.handle = nmflow.torch.sparsify(
            model,
            run.n,
            run.m,
            method=run.method,
            pattern=run.pattern,
            exclude=dense,
            rule=run.rule,
            refresh=refresh,
            workers=workers,
            kept_scores=True,
        )
        self.history = list(self.handle.history)
        self.seconds += time.perf_counter() - begin
        if self.handle.frozen:
            self._certify()

    def step(self) -> None:
        """What follows an optimizer step."""
        if self.handle is None:
            return
        begin = time.perf_counter()
        refreshed = self.handle.step()
        self.seconds += time.perf_counter() - begin
        if refreshed is not None:
            self.history.append(refreshed)
        if refreshed is not None and self.handle.frozen:
            self._certify()

    def record(self, elapsed: float) -> dict[str, Any] | None:
        """What the masks did and cost in so many seconds of training."""
        if self.handle is None:
            return None
        report = self.handle.report
        return {
            "layers": len(report.sparsified),
            "entries": sum(math.prod(layer.shape) for layer in report.sparsified),
            "dense": [layer.name for layer in report.skipped],
            "refreshes": len(self.history),
            "share_of_time": self.seconds / elapsed,
            "history": [_refresh(each) for each in thinned(self.history, POINTS)],
            "certificates": self._summary(),
        }

    def _certify(self) -> None:
        assert self.handle is not None
        begin = time.perf_counter()
        self.certificates = self.handle.certify()
        self.certify_seconds += time.perf_counter() - begin

    def _summary(self) -> dict[str, Any]:
        found = self.certificates.values()
        return {
            "layers": len(self.certificates),
            "largest_gap": max((each.gap for each in found), default=None),
            "optimal": all(each.optimal for each in found),
            "full": all(each.full for each in found),
            "tiles": sum(each.tiles for each in found),
            "optimal_tiles": sum(each.optimal_tiles for each in found),
        }


def thinned(values: list[Any], count: int) -> list[Any]:
    """So many of them at most, evenly, the first and the last among them."""
    if len(values) <= count:
        return values
    return [values[round(k * (len(values) - 1) / (count - 1))] for k in range(count)]


def _refresh(statistics: nmflow.torch.RefreshStatistics) -> dict[str, float]:
    row = {
        "step": statistics.step,
        "flip_rate": statistics.flip_rate,
        "sad": statistics.sad,
        "kept": statistics.kept_share,
        "seconds": statistics.seconds,
    }
    return {name: float(f"{value:.4g}") for name, value in row.items()}
