"""The masks of one weight, each found from where the last left off where the method can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nmflow.certify import certify
from nmflow.models import Layout
from nmflow.pattern import Pattern
from nmflow.scores import ScoreName
from nmflow.solve import solve
from nmflow.solvers.registry import Method
from nmflow.tracker import Tracker


@dataclass(frozen=True, slots=True)
class Problem:
    """What every mask of a model is to be.

    Attributes
    ----------
    pattern : Pattern
    method : Method
    score : {"abs", "square", "raw"}
    """

    pattern: Pattern
    method: Method
    score: ScoreName

    def __str__(self) -> str:
        return f"{self.pattern} by {self.method}, score {self.score}"

    @property
    def tracked(self) -> bool:
        """Whether a solve may start from the last one."""
        return self.method.name == "flow" and self.pattern.name == "transposable"


class Solver:
    """Masks of matrices of one shape.

    Attributes
    ----------
    tracker : Tracker or None
    """

    def __init__(self, problem: Problem, layout: Layout) -> None:
        self.problem = problem
        self.layout = layout
        self.tracker: Tracker | None = None

    def solve(self, matrices: Any, n: int) -> Any:
        """The mask that keeps n of every m; it may be the solver's own memory."""
        problem, m = self.problem, self.problem.pattern.m
        if n == m:
            return torch.ones_like(matrices, dtype=torch.bool)
        if problem.tracked:
            mask, _ = self._tracker_of(tuple(matrices.shape), n).update(matrices)
            return mask
        return solve(
            matrices,
            n,
            m,
            problem.method,
            pattern=problem.pattern.name,
            axes=self._axes(matrices.ndim),
            score=problem.score,
            workers=1,
        )

    def certify(self, matrices: Any, mask: Any, n: int) -> Any:
        """The certificate of any mask of theirs."""
        problem = self.problem
        pattern, m = problem.pattern.name, problem.pattern.m
        axes = self._axes(matrices.ndim)
        return certify(matrices, mask, n, m, pattern=pattern, axes=axes, score=problem.score)

    def state_dict(self) -> dict[str, Any]:
        """The tracker's, as tensors; empty without one."""
        if self.tracker is None:
            return {}
        return {name: torch.from_numpy(part) for name, part in self.tracker.state_dict().items()}

    def loaded(self, shape: tuple[int, ...], n: int, state: Mapping[str, Any]) -> Solver:
        """A solver that goes on from :meth:`state_dict`."""
        solver = Solver(self.problem, self.layout)
        if state:
            arrays = {name: part.numpy() for name, part in state.items()}
            solver._tracker_of(shape, n).load_state_dict(arrays)
        return solver

    def _axes(self, ndim: int) -> tuple[int, int]:
        """The axes (out, in) of matrices of so many dimensions."""
        return self.layout.matrix_axes(ndim - (self.layout.groups > 1))

    def _tracker_of(self, shape: tuple[int, ...], n: int) -> Tracker:
        if self.tracker is None or self.tracker.pattern.n != n:
            m, score = self.problem.pattern.m, self.problem.score
            # Layers are solved side by side, each in one thread.
            axes = self._axes(len(shape))
            self.tracker = Tracker(shape, n, m, axes=axes, score=score, workers=1)
        return self.tracker
