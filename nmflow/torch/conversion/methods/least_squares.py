"""The exact solution of AdaPrune: least squares on what a mask keeps, row by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch

from nmflow.torch.conversion.methods.conjugate_gradients import conjugate_gradients
from nmflow.torch.conversion.methods.problem import Fit, LayerProblem

# Of the matrices that are factored side by side.
_CHUNK_BYTES = 1 << 28
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
    chunk = max(1, _CHUNK_BYTES // (width * width * 4))
    narrow = moments.to(torch.float32)
    for first in range(0, len(weights), chunk):
        rows = slice(first, first + chunk)
        some = _Rows(target[rows], mask[rows], order[rows], counts[rows].tolist())
        values = some.refined(moments, narrow)
        found[rows] = some.refined(moments, moments) if values is None else values
    return found


class _Rows:
    """Some rows of the problem, solved side by side."""

    def __init__(self, target: Any, mask: Any, order: Any, counts: list[int]) -> None:
        self._target = target * mask
        self._mask = mask
        self._order = order
        self._counts = counts

    def refined(self, moments: Any, factored: Any) -> Any:
        """The solution by factors of ``factored``, moments of any precision; None if too rough."""
        factor, info = torch.linalg.cholesky_ex(self._cut(factored))
        if bool(info.any()):
            return None if factored is not moments else self._raise()
        size = torch.linalg.vector_norm(self._target, dim=1)
        found, residual, left = torch.zeros_like(self._target), self._target, size
        for _ in range(_REFINEMENTS):
            found = found + self._solve(factor, residual)
            residual = self._target - (found @ moments) * self._mask
            before, left = left, torch.linalg.vector_norm(residual, dim=1)
            if bool((left <= _RESIDUAL * size).all()):
                return found
            if factored is moments and not bool((left < before / 2).any()):
                return found
        return found if factored is moments else None

    def _cut(self, moments: Any) -> Any:
        """H_ss of each row; what a row lacks is filled with rows of the identity."""
        width = self._order.shape[1]
        cut = moments.new_zeros(len(self._counts), width, width)
        for matrix, index, count in zip(cut, self._order, self._counts, strict=True):
            kept = index[:count]
            matrix[:count, :count] = moments.index_select(0, kept).index_select(1, kept)
            matrix.diagonal()[count:] = 1
        return cut

    def _solve(self, factor: Any, right: Any) -> Any:
        # Scaled, for what is small in float64 may be nothing in float32.
        size = right.abs().amax(1, keepdim=True).clamp_min(torch.finfo(right.dtype).tiny)
        cut = (right / size).gather(1, self._order).to(factor.dtype)
        values = torch.cholesky_solve(cut[:, :, None], factor)[:, :, 0].to(right.dtype)
        return torch.zeros_like(right).scatter_(1, self._order, values * size) * self._mask

    @staticmethod
    def _raise() -> None:
        raise torch.linalg.LinAlgError("the second moments of kept features are singular")
