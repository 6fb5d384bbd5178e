"""One masked weight: its mask, where it stands in the model, and what brings it up to date."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.torch.masked import Masked
from nmflow.torch.sharding import whole
from nmflow.torch.solver import Proposal, Solver
from nmflow.torch.statistics import LayerStatistics, kept_score


@dataclass(frozen=True, slots=True)
class Change:
    """A proposal for one layer, and what it would change.

    Attributes
    ----------
    layer : Layer
    n : int
        What the proposed mask keeps of every m.
    proposal : Proposal
    values : Tensor
        What the solver saw; None unless kept scores are wanted.
    seconds : float
    """

    layer: Layer
    n: int
    proposal: Proposal
    values: Any
    seconds: float

    def accept(self) -> LayerStatistics:
        """Put the mask in force."""
        masked = self.layer.masked
        self.proposal.accept()
        masked.kept, masked.given = self.n, False
        kept, score = math.nan, math.nan
        if self.values is not None:
            kept, score = kept_score(self.values, masked.mask, masked.problem.solver_score)
        return LayerStatistics(
            n=self.n,
            m=masked.problem.pattern.m,
            entries=masked.mask.numel(),
            sad=self.proposal.flipped,
            kept_score=kept,
            score=score,
            seconds=self.seconds,
        )


class Layer:
    """A weight that goes through a mask.

    Attributes
    ----------
    masked : Masked
    solver : Solver
    """

    def __init__(self, masked: Masked) -> None:
        self.masked = masked
        self.solver = Solver(masked.problem, masked.layout)

    @property
    def name(self) -> str:
        """The weight's, in the model as it was sparsified."""
        return self.masked.name

    def values(self, weight: Any) -> Any:
        """What the solver gets of a dense weight: whole, without its history."""
        return self.masked.problem.values(self.name, whole(weight.detach()))

    def propose(self, weight: Any, n: int, keep_values: bool) -> Change:
        """The best mask for a dense weight.

        Raises
        ------
        NmflowError
            If it can't be solved, naming the weight; a NaN or infinity by its index in it.
        """
        began, values = time.perf_counter(), None
        try:
            values = self.values(weight)
            proposal = self.solver.propose(values, self.masked.mask, n)
        except NmflowError as error:
            raise NmflowError(f"{self.name}: {self._explain(values, error)}") from error
        seconds = time.perf_counter() - began
        return Change(self, n, proposal, values if keep_values else None, seconds)

    def _explain(self, values: Any, error: NmflowError) -> str:
        """The error, or where the first NaN is in the weight as the user has it."""
        wrong = () if values is None else torch.nonzero(~torch.isfinite(values))
        if not len(wrong):
            return str(error)
        index = tuple(int(each) for each in wrong[0])
        what = "scores" if self.masked.problem.scorer else "weight"
        return (
            f"{what} of shape {tuple(values.shape)} and dtype {values.dtype}: {values[index]} at"
            f" index {index} ({len(wrong)} such), but all values must be finite; look for where it"
            " came from, or leave this weight out"
        )
