"""One masked weight: its mask, where it stands in the model, and what brings it up to date."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.torch.masking.install import Place
from nmflow.torch.masking.masked import Masked
from nmflow.torch.masking.sharding import whole
from nmflow.torch.solving.solver import Proposal, Solver
from nmflow.torch.solving.statistics import LayerStatistics, kept_score


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

    def accept(self) -> None:
        """Put the mask in force."""
        self.proposal.accept()
        self.layer.masked.kept, self.layer.masked.given = self.n, False

    def statistics(self) -> LayerStatistics:
        """What has changed, once the mask is in force."""
        masked = self.layer.masked
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
    places : list of Place
        Where it was when the model was last looked through; none if it was not there.
    solver : Solver
    """

    def __init__(self, masked: Masked, places: list[Place]) -> None:
        self.masked = masked
        self.places = places
        self.solver = Solver(masked.problem, masked.layout)

    @property
    def name(self) -> str:
        """The weight's, in the model as it was sparsified."""
        return self.masked.name

    @property
    def mask(self) -> Any:
        """Of the weight's shape, as the model has it."""
        return self.masked.mask

    @property
    def pattern(self) -> Pattern:
        """What the mask is to be in the end."""
        return self.masked.problem.pattern

    @property
    def parametrizations(self) -> Any:
        """Where PyTorch keeps the dense weight and the mask."""
        return self.places[0].parametrizations

    @property
    def weight(self) -> Any:
        """The dense weight."""
        return self.places[0].weight

    @property
    def has_values(self) -> bool:
        """Whether it is in the model and can be solved; not on the meta device."""
        return bool(self.places) and not (self.weight.is_meta or self.mask.is_meta)

    def values(self) -> Any:
        """What the solver gets: the dense weight, whole and without its history, or its scores."""
        return self.masked.problem.values(self.name, whole(self.weight.detach()))

    def propose(self, n: int, keep_values: bool = False) -> Change:
        """The best mask for the dense weight as it is now.

        Raises
        ------
        NmflowError
            If it can't be solved, naming the weight; a NaN or infinity by its index in it.
        """
        began, values = time.perf_counter(), None
        try:
            values = self.values()
            proposal = self.solver.propose(values, self.mask, n)
        except NmflowError as error:
            raise NmflowError(f"{self.name}: {self._explain(values, error)}") from error
        seconds = time.perf_counter() - began
        return Change(self, n, proposal, values if keep_values else None, seconds)

    def _explain(self, values: Any, error: NmflowError) -> str:
        """The error, or where the first NaN is in the weight as the user has it."""
        return str(error) if values is None else self._first_not_finite(values) or str(error)

    def not_finite(self, values: Any) -> str:
        """What is wrong with this weight, in which there was NaN or infinity."""
        found = self._first_not_finite(values)
        return f"{self.name}: {found or 'values were NaN or infinite, and are not any more'}"

    def _first_not_finite(self, values: Any) -> str:
        wrong = torch.nonzero(~torch.isfinite(values))
        if not len(wrong):
            return ""
        index = tuple(int(each) for each in wrong[0])
        what = "scores" if self.masked.problem.scorer else "weight"
        return (
            f"{what} of shape {tuple(values.shape)} and dtype {values.dtype}: {values[index]} at"
            f" index {index} ({len(wrong)} such), but all values must be finite; look for where it"
            " came from, or leave this weight out"
        )


def accept_all(changes: list[Change]) -> list[Change]:
    """Put masks in force; those that can't be any more, after an interrupt, are as they were."""
    for position, change in enumerate(changes):
        try:
            change.accept()
        except BaseException:
            for other in changes[position:]:
                other.proposal.reject()
            raise
    return changes
