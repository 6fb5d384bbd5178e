"""What the masks of one weight are to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName
from nmflow.solvers.interface import Method
from nmflow.units.unit import ENTRY, Unit

Scorer = Callable[[str, Any], Any]
Scores = Scorer | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Which masks a weight may have, and which is the best.

    Attributes
    ----------
    pattern : Pattern
    method : Method
    score : {"abs", "square", "raw"}
        Of the weight, where there is no scorer.
    scorer : callable of (name, weight), or None
        Importance scores of the weight's shape, which take the place of the weight's own.
    keep_zeros : bool
        Whether what was 0 when the model was sparsified is never kept.
    unit : (int, int)
        Rows and columns of the blocks that are kept or dropped whole.
    """

    pattern: Pattern
    method: Method
    score: ScoreName
    scorer: Scorer | None = None
    keep_zeros: bool = False
    unit: Unit = ENTRY

    def __str__(self) -> str:
        score = "of the user" if self.scorer else self.score
        zeros = ", zeros kept" if self.keep_zeros else ""
        units = "" if self.unit == ENTRY else f", units of {self.unit[0]} x {self.unit[1]}"
        return f"{self.pattern} by {self.method.name}, score {score}{zeros}{units}"

    @property
    def plain(self) -> bool:
        """Whether it is the exact transposable mask of single entries, any of which may be kept."""
        exact = self.method.name == "flow" and self.pattern.name == "transposable"
        return exact and not self.keep_zeros and self.unit == ENTRY

    @property
    def tracked(self) -> bool:
        """Whether a solve gains from starting where the last one ended."""
        return self.plain and self.pattern.m in (8, 16, 32)

    @property
    def whole(self) -> bool:
        """Whether a matrix is one piece, which no part of it can be solved without."""
        return self.pattern.name == "unstructured"

    @property
    def solver_score(self) -> ScoreName:
        """What the solver is to make of :meth:`values`."""
        return "raw" if self.scorer else self.score

    def values(self, name: str, weight: Any) -> Any:
        """What the solver gets: the weight, or the scores that the user's function gives it.

        Raises
        ------
        NmflowError
            If the function gives anything but a tensor of real numbers of the weight's shape.
        """
        if self.scorer is None:
            return weight
        scores = self.scorer(name, weight)
        if not isinstance(scores, torch.Tensor) or scores.shape != weight.shape:
            got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            raise NmflowError(
                f"scores of {name}: expected a tensor of shape {tuple(weight.shape)}, got {got}"
            )
        return scores.detach().to(weight.device)


def as_scorer(scores: Scores, names: list[str]) -> Scorer | None:
    """The function that a function or a mapping of names to tensors stands for.

    Raises
    ------
    NmflowError
        If a mapping lacks a weight or has a name that is none.
    """
    if scores is None or callable(scores):
        return scores
    table = dict(scores)
    if unlike := sorted(table.keys() ^ set(names)):
        raise NmflowError(
            "scores must have one tensor for each weight that is masked, by the names that the"
            f" report prints; without a match: {', '.join(unlike)}"
        )
    return _Table(table)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Scores that stay, as a function; a class, so that copies of a model can be made."""

    scores: dict[str, Any]

    def __call__(self, name: str, weight: Any) -> Any:
        return torch.as_tensor(self.scores[name])
