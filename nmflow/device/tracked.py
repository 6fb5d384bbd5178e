"""A tracked mask where the weights are: neither it nor potentials leave the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from nmflow.cuda.problem import NOT_FINITE, OPEN
from nmflow.device.kernels import kind_of, potentials_of, solve_each
from nmflow.device.solve import Given, solve_by_operations
from nmflow.problem.scores import ScoreName
from nmflow.solvers.flow.tracked_batch import TrackedBatch


class TrackedThere:
    """The mask of a tracked batch on a device, and what its last solve by kernels left there.

    Parameters
    ----------
    home : TrackedBatch
        In host memory; it may be behind until :meth:`bring_home`.
    """

    def __init__(self, home: TrackedBatch) -> None:
        self._home = home
        # None where only home has the last update's.
        self._mask: Any = None
        self._potentials: Any = None
        # Whether home may be behind.
        self._ahead = False

    @property
    def nbytes(self) -> int:
        """Bytes held on the device."""
        held = (self._mask, self._potentials)
        return sum(each.nbytes for each in held if each is not None)

    def update(
        self, weights: Any, axes: tuple[int, int], score: ScoreName
    ) -> tuple[tuple[int, int], Callable[[], Any]] | None:
        """Bring the mask up to date; waits for the device.

        Returns
        -------
        ((int, int), function) or None
            Entries that changed, and tiles proved at once; what makes a mask of the weights' shape,
            until the next update. None for what has to go through the host, as
            :func:`nmflow.device.solve.solve_there`: then nothing has changed.
        """
        given = Given.of(weights, self._home.pattern, axes)
        if given is None:
            return None
        found = self._solve(given.matrices, score)
        if found is None:
            return None
        mask, at_once = found
        before = torch.from_numpy(self._home.mask) if self._mask is None else self._mask
        flipped = int(torch.count_nonzero(mask != before.to(mask.device)))
        self._ahead = True
        self._mask = mask
        return (flipped, at_once), lambda: given.restore(mask.clone())

    def _solve(self, matrices: Any, score: ScoreName) -> tuple[Any, int] | None:
        """The mask, and how many tiles were proved from what the last solve left."""
        pattern = self._home.pattern
        kind = kind_of(matrices, pattern, score, warm=True)
        if kind is None:
            found = solve_by_operations(matrices, pattern, score)
            return None if found is None else (found[0], 0)
        left, warm = self._potentials, []
        if kind.warm:
            self._potentials = potentials_of(matrices, kind.m, left)
            warm.append(self._potentials)
        solved = solve_each(kind, [matrices], warm)
        counts = solved.counters[0].tolist()
        if counts[NOT_FINITE]:
            return None
        batch, rows, columns = matrices.shape
        full = batch * (rows // kind.m) * (columns // kind.m)
        started = kind.warm and self._potentials is left
        return solved.masks[0], full - counts[OPEN] if started else 0

    def bring_home(self) -> None:
        """Let home have the last update's mask, too."""
        if self._ahead:
            self._home.adopt(self._mask.cpu().numpy())
            self._ahead = False

    def hand_over(self) -> None:
        """Leave the mask to home, which is about to change it; potentials stay."""
        self.bring_home()
        self._mask = None
