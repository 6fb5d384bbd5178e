"""``torch.ops.nmflow.solve``: masks within compiled graphs, without a look at what came out."""

from __future__ import annotations

import math
from typing import Any, cast

import torch

from nmflow.cuda.problem import NOT_FINITE
from nmflow.device.kernels import solve_by_kernels
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName, check_score
from nmflow.solve import solve


@torch.library.custom_op("nmflow::solve", mutates_args=())
def solve_operator(
    weights: torch.Tensor, n: int, m: int, score: str = "abs"
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mask of the last two axes, and whether all weights were finite.

    ``torch.ops.nmflow.solve(weights, n, m, score)``. By CUDA kernels nothing waits for the device:
    whoever looks at the second result does. Where it is False the mask means nothing, and nothing
    was raised; other mistakes raise as they do in :func:`nmflow.solve`.

    Parameters
    ----------
    weights : Tensor, shape (..., R, C)
    n, m, score
        As for :func:`nmflow.solve`.

    Returns
    -------
    mask : bool Tensor
        Of the weights' shape, on their device.
    finite : bool Tensor of no dimension
    """
    pattern = Pattern(n, m)
    check_score(score)
    if weights.ndim < 2:
        raise NmflowError(f"weights of shape {tuple(weights.shape)}: need at least 2 dimensions")
    matrices = weights.reshape(math.prod(weights.shape[:-2]), *weights.shape[-2:])
    found = solve_by_kernels(matrices, pattern, score)
    if found is not None:
        return found[0].reshape(weights.shape), found[1][NOT_FINITE] == 0
    finite = torch.isfinite(weights).all()
    mask: Any = torch.zeros(weights.shape, dtype=torch.bool, device=weights.device)
    if bool(finite):
        mask = solve(weights, n, m, score=cast(ScoreName, score))
    return mask, finite


@solve_operator.register_fake
def _shapes(
    weights: torch.Tensor, n: int, m: int, score: str = "abs"
) -> tuple[torch.Tensor, torch.Tensor]:
    finite = torch.empty((), dtype=torch.bool, device=weights.device)
    return torch.empty(weights.shape, dtype=torch.bool, device=weights.device), finite
