"""The exact solution of AdaPrune: least squares on what a mask keeps, row by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch

from nmflow.torch.conversion.methods.conjugate_gradients import conjugate_gradients
from nmflow.torch.conversion.methods.factors import factored
from nmflow.torch.conversion.methods.problem import Fit, LayerProblem

# Of the matrices that are factored side by side.
_CHUNK_BYTES = 1 << 27
# Of a refined solution, relative to the right side; and how often a factor is used for it.
_RESIDUAL, _REFINEMENTS = 1e-10, 12
# Above that many kept features a row's factor takes longer than conjugate gradients.
_LARGEST_FACTOR = 2048


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """Weights that minimise the output error under a mask, in closed form.

    Hubara et al. reach them by Adam ("AdaPrune", NeurIPS 2021, sec. 4). But the problem falls
    apart into rows, and the row w with support s is (W H)_s H_ss^-1.

    Attributes
    ----------
    solver : {"auto", "cholesky", "cg"}
        Cholesky factors of H_ss of many rows side by side, features^3 / 24 operations a row at
        n/m = 1/2; or conjugate gradients on all rows at once, 2 features^2 a row and iteration,
        which need no more memory than the weights. ``auto`` factors up to 2048 kept features.
    tolerance : float
        Of conjugate gradients: residual relative to the right side.
    iterations : int
        Of conjugate gradients, at most.
    """

    solver: Literal["auto", "cholesky", "cg"] = "auto"
    tolerance: float = 1e-6
    iterations: int = 300
    name: ClassVar[str] = "least-squares"
    needs_inputs: ClassVar[bool] = False

    def refit(self, problem: LayerProblem, fit: Fit) -> Fit:
        """The same mask with the best weights for it; never worse than the weights that it had."""
        moments, mask = problem.second_moments, problem.usable(fit.mask)
        kept = int(mask.sum(2).max()) if mask.numel() else 0
        factor = self.solver == "cholesky" or (self.solver == "auto" and kept <= _LARGEST_FACTOR)
        groups = zip(problem.weights, moments, mask, fit.weights, strict=True)
        if factor:
            refitted = [least_squares(w, h, s) for w, h, s, _ in groups]
        else:
            refitted = [
                conjugate_gradients(w, h, s, start, self.tolerance, self.iterations)
                for w, h, s, start in groups
            ]
        return replace(fit, weights=torch.stack(refitted))


def least_squares(weights: Any, moments: Any, mask: Any) -> Any:
    """The minimum of tr((W - W') H (W - W')') over W' with a mask.

    Parameters
    ----------
    weights : Tensor (outputs, features), float64
    moments : Tensor (features, features), float64
        Positive definite, as damping makes it.
    mask : bool Tensor (outputs, features)

    Returns
    -------
    Tensor (outputs, features)

    Notes
    -----
    Rows are factored in float32, many side by side, and refined by their residuals in float64
    (Wilkinson, "Rounding errors in algebraic processes", 1963) until these are a ten-billionth of
    the right side; rows of which the factor is too rough for that are factored in float64.
    """
    target, counts = weights @ moments, mask.sum(1)
    width = int(counts.max()) if counts.numel() else 0
    found = torch.zeros_like(weights)
    if not width:
        return found
    # The kept features of each row in front.
    order = torch.argsort(mask.to(torch.uint8), dim=1, descending=True, stable=True)[:, :width]
    chunk = min(len(weights), max(1, _CHUNK_BYTES // (width * width * 4)))
    narrow = moments.to(torch.float32)
    # Memory used again for each chunk: fresh pages take as long as factors.
    memory = narrow.new_empty(chunk, width, width)
    for first in range(0, len(weights), chunk):
        rows = slice(first, first + chunk)
        some = _Rows(target[rows], mask[rows], order[rows], counts[rows].tolist())
        values = some.refined(moments, narrow, memory)
        if values is None:
            wide = moments.new_empty(len(some.counts), width, width)
            values = some.refined(moments, moments, wide)
        if values is None:
            raise torch.linalg.LinAlgError("second moments of kept features are singular")
        found[rows] = values
    return found


class _Rows:
    """Some rows of the problem, solved side by side."""

    def __init__(self, target: Any, mask: Any, order: Any, counts: list[int]) -> None:
        self.counts = counts
        self._target = target * mask
        self._mask = mask
        self._order = order

    def refined(self, moments: Any, source: Any, memory: Any) -> Any:
        """The solution by factors of ``source``, moments of any precision; None if too rough.

        ``memory`` is room for H_ss of each row, in the precision of ``source``.
        """
        cut = memory[: len(self.counts)]
        self._cut(source, cut)
        factors = factored(cut)
        if factors is None:
            return None
        size = torch.linalg.vector_norm(self._target, dim=1)
        found, residual, left = torch.zeros_like(self._target), self._target, size
        for _ in range(_REFINEMENTS):
            found = found + self._solve(factors, residual)
            residual = self._target - (found @ moments) * self._mask
            before, left = left, torch.linalg.vector_norm(residual, dim=1)
            if bool((left <= _RESIDUAL * size).all()):
                return found
            if source is moments and not bool((left < before / 2).any()):
                return found
        return found if source is moments else None

    def _cut(self, moments: Any, cut: Any) -> None:
        """Write H_ss of each row; what a row lacks is filled with rows of the identity."""
        width = self._order.shape[1]
        for matrix, index, count in zip(cut, self._order, self.counts, strict=True):
            kept = index[:count]
            if count < width:
                matrix.zero_().diagonal().fill_(1)
            matrix[:count, :count] = moments.index_select(0, kept).index_select(1, kept)

    def _solve(self, factors: Any, right: Any) -> Any:
        # Scaled, for what is small in float64 may be nothing in float32.
        size = right.abs().amax(1, keepdim=True).clamp_min(torch.finfo(right.dtype).tiny)
        values = factors.solve((right / size).gather(1, self._order)).to(right.dtype)
        return torch.zeros_like(right).scatter_(1, self._order, values * size) * self._mask
