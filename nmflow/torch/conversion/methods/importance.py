"""Importance scores: what a weight is worth to the outputs of its layer.

All are of the weights' shape (groups, outputs, features), not negative, and only their order and
sums count.
"""

from __future__ import annotations

from typing import Any

import torch

from nmflow.torch.conversion.methods.problem import LayerProblem


def magnitude(problem: LayerProblem) -> Any:
    """|w|."""
    return problem.weights.abs()


def wanda(problem: LayerProblem) -> Any:
    """|w| times the norm of what it multiplies (Sun, Liu, Bair & Kolter, ICLR 2024)."""
    return problem.weights.abs() * problem.norms[:, None, :]


def ria(problem: LayerProblem, exponent: float = 0.5) -> Any:
    """Relative importance and activations (Zhang et al., "Plug-and-Play", ICLR 2024).

    (|w| / sum of its row + |w| / sum of its column) times the norm of what it multiplies to the
    power of ``exponent``.
    """
    size = problem.weights.abs()
    tiny = torch.finfo(size.dtype).tiny
    relative = size / size.sum(2, keepdim=True).clamp_min(tiny)
    relative = relative + size / size.sum(1, keepdim=True).clamp_min(tiny)
    return relative * problem.norms[:, None, :] ** exponent


def obs(problem: LayerProblem) -> Any:
    """w^2 / [H^-1]_jj, the optimal brain surgeon's (Hassibi & Stork, NIPS 1992).

    By how much the squared error grows if one weight goes and the others of its row make up for it.
    """
    return problem.weights.square() / inverse_diagonal(problem.second_moments)[:, None, :]


def inverse_diagonal(moments: Any) -> Any:
    """[H^-1]_jj of positive definite matrices (groups, features, features)."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    return inverse.diagonal(dim1=-2, dim2=-1)
