"""AdaPrune as published: weights under a mask by Adam on the layer's inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from nmflow.torch.conversion.methods.problem import Fit, LayerProblem


@dataclass(frozen=True, slots=True)
class Adam:
    """min over W' of ``|W X - (S * W') X|^2`` by Adam on batches of a layer's inputs.

    For comparison: :class:`LeastSquares` has the minimum itself.

    Attributes
    ----------
    steps : int, default 1000
    learning_rate : float, default 1e-2
        Relative to the root mean square of the layer's weights.
    batch : int, default 256
        Rows of X a step.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor & Soudry, NeurIPS 2021, sec. 4 (AdaPrune).
    """

    steps: int = 1000
    learning_rate: float = 1e-2
    batch: int = 256
    name: ClassVar[str] = "adam"
    needs_inputs: ClassVar[bool] = True

    def refit(self, problem: LayerProblem, fit: Fit) -> Fit:
        """The same mask with weights that Adam found, in float32."""
        mask = problem.usable(fit.mask)
        inputs = problem.inputs.to(torch.float32)
        target = inputs @ problem.weights.to(inputs).mT
        found = fit.weights.to(inputs, copy=True).requires_grad_()
        size = float(problem.weights.square().mean().sqrt())
        optimizer = torch.optim.Adam([found], lr=self.learning_rate * size)
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.steps):
            rows = torch.randint(inputs.shape[1], (self.batch,), generator=generator)
            with torch.enable_grad():
                outputs = inputs[:, rows] @ (found * mask).mT
                loss = (outputs - target[:, rows]).square().mean()
                (found.grad,) = torch.autograd.grad(loss, [found])
            optimizer.step()
        return replace(fit, weights=(found.detach() * mask).to(fit.weights))
