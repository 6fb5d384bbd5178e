"""Mask and weights together, by ADMM with the exact mask as projection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from nmflow.torch.conversion.methods.problem import Fit, LayerProblem, quadratic

_GROWTH_EVERY = 3


@dataclass(frozen=True, slots=True)
class ALPS:
    """ADMM on min tr((W - W') H (W - W')') subject to W' in the pattern.

    W' is free and pays for its distance to D, which is in the pattern; a multiplier V draws the
    two together. Each iteration is a ridge regression (one eigendecomposition serves all), a
    projection, which is the mask that keeps most of the squares of W' + V / rho, and a step of V.
    The penalty rho grows as long as the mask changes.

    Attributes
    ----------
    iterations : int, default 300
        At most; it ends once the mask has stood still from one growth of rho to the next.
    rho : float, default 0.1
        Where the penalty begins, H being scaled to a diagonal of ones.
    growth : (float, float, float), default (1.3, 1.2, 1.1)
        By what it grows, every third iteration, where more than a tenth of the mask's entries
        have changed since the last time, more than half a percent, and fewer.

    References
    ----------
    Meng, Behdin, Wang & Mazumder, "ALPS: improved optimization for highly sparse one-shot pruning
    for large language models", NeurIPS 2024; with transposable masks, of an approximate projection,
    Meng, Makni & Mazumder, "TSENOR", NeurIPS 2025.
    """

    iterations: int = 300
    rho: float = 0.1
    growth: tuple[float, float, float] = (1.3, 1.2, 1.1)
    name: ClassVar[str] = "alps"
    source: ClassVar[str] = "Meng et al., NeurIPS 2024"
    guarantee: ClassVar[str] = "the mask is the best of the final iterate's squares"
    needs_inputs: ClassVar[bool] = False

    def fit(self, problem: LayerProblem) -> Fit:
        """The mask at the end, and D."""
        scale = problem.second_moments.diagonal(dim1=-2, dim2=-1).sqrt()
        dtype = torch.float32
        moments = (problem.second_moments / (scale[:, :, None] * scale[:, None, :])).to(dtype)
        weights = (problem.weights * scale[:, None, :]).to(dtype)
        state = _Iterate(weights, moments, problem)
        history, rho = [], self.rho
        reference, kept = state.mask, int(state.mask.sum())
        for iteration in range(1, self.iterations + 1):
            state.step(rho)
            if iteration % _GROWTH_EVERY:
                continue
            changed = int((state.mask ^ reference).sum()) // 2
            history.append(_row(state, weights, moments, iteration, rho, changed / max(kept, 1)))
            reference = state.mask
            if not changed:
                break
            rho *= self._growth(changed / max(kept, 1))
        found = (state.in_pattern / scale[:, None, :]).to(problem.weights.dtype)
        return Fit(found, state.mask, state.scores, tuple(history))

    def _growth(self, changed: float) -> float:
        fast, middle, slow = self.growth
        return fast if changed > 0.1 else middle if changed > 0.005 else slow


class _Iterate:
    """W, D and V, in features scaled to a mean square of 1; D begins at the mask of W's squares."""

    def __init__(self, weights: Any, moments: Any, problem: LayerProblem) -> None:
        self._project = problem.project.follow
        self._usable = problem.usable
        self._values, self._vectors = torch.linalg.eigh(moments)
        self._pulled = weights @ moments
        self.scores = weights.square()
        self.mask = self._project(self.scores)
        self.in_pattern = self._masked(weights)
        self._multiplier = torch.zeros_like(weights)

    def _masked(self, values: Any) -> Any:
        return values * self._usable(self.mask)

    def step(self, rho: float) -> None:
        """One iteration."""
        right = self._pulled - self._multiplier + rho * self.in_pattern
        rotated = (right @ self._vectors) / (self._values + rho)[:, None, :]
        free = rotated @ self._vectors.mT
        wanted = free + self._multiplier / rho
        self.scores = wanted.square()
        self.mask = self._project(self.scores)
        self.in_pattern = self._masked(wanted)
        self._multiplier = self._multiplier + rho * (free - self.in_pattern)


def _row(
    state: _Iterate, weights: Any, moments: Any, iteration: int, rho: float, changed: float
) -> Mapping[str, float]:
    error = quadratic(weights - state.in_pattern, moments)
    return {
        "iteration": iteration,
        "rho": rho,
        "error": error / max(quadratic(weights, moments), 1e-30),
        "changed": changed,
    }
