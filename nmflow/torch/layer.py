"""One masked weight: its mask in the model, and the solver that brings it up to date."""

from __future__ import annotations

import time
from typing import Any

import torch

from nmflow.torch.masked import Masked
from nmflow.torch.select import Weight
from nmflow.torch.sharding import whole
from nmflow.torch.solver import Problem, Solver
from nmflow.torch.statistics import LayerStatistics, scores_of


class Layer:
    """A weight of the model that goes through a mask.

    Attributes
    ----------
    name : str
    masked : Masked
    solver : Solver
    """

    def __init__(self, weight: Weight, problem: Problem, mean_absorption: bool) -> None:
        self.name = weight.name
        self.places = [(site.module, site.tensor) for site in weight.sites]
        self.solver = Solver(problem, weight.layout)
        self.layout = weight.layout
        mask = torch.ones_like(weight.parameter, dtype=torch.bool, requires_grad=False)
        self.masked = Masked(mask, problem.pattern, weight.layout, mean_absorption)

    @property
    def parametrizations(self) -> Any:
        """Where PyTorch keeps the dense weight and the mask."""
        module, tensor = self.places[0]
        return module.parametrizations[tensor]

    @property
    def mask(self) -> Any:
        """The mask as the model has it, seen as matrices."""
        return self.layout.matrices(self.masked.mask)

    def matrices(self, weight: Any) -> Any:
        """A dense weight, whole and without its history, seen as matrices."""
        return self.layout.matrices(whole(weight.detach()))

    def solve(self, matrices: Any, n: int) -> tuple[Any, LayerStatistics]:
        """The mask of some weights, and how it differs from that of the model."""
        began = time.perf_counter()
        mask = self.solver.solve(matrices, n)
        scores = scores_of(matrices, self.solver.problem.score)
        statistics = LayerStatistics(
            entries=mask.numel(),
            sad=int(torch.count_nonzero(mask != self.mask.to(mask.device))),
            kept_score=float((scores * mask).sum()),
            score=float(scores.sum()),
            seconds=time.perf_counter() - began,
        )
        return mask, statistics
