"""Least squares under a mask by conjugate gradients, all rows at once."""

from __future__ import annotations

from typing import Any

import torch


def conjugate_gradients(
    weights: Any, moments: Any, mask: Any, start: Any, tolerance: float, iterations: int
) -> Any:
    """The minimum of tr((W - W') H (W - W')') over W' with a mask, to a tolerance.

    Every row has its own steps; they share the product with H, 2 outputs features^2 operations an
    iteration. Preconditioned by the diagonal of H.

    Parameters
    ----------
    weights : Tensor (outputs, features)
    moments : Tensor (features, features)
        Positive definite.
    mask : bool Tensor (outputs, features)
    start : Tensor (outputs, features)
        Where to begin; the error never grows from there.
    tolerance : float
        Ends a row once its residual is that part of the right side.
    iterations : int

    Returns
    -------
    Tensor (outputs, features)

    References
    ----------
    Hestenes & Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.
    """
    scale = mask / moments.diagonal().clamp_min(torch.finfo(weights.dtype).tiny)
    found = start * mask
    residual = ((weights - found) @ moments) * mask
    enough = tolerance * torch.linalg.vector_norm((weights @ moments) * mask, dim=1)
    conditioned = residual * scale
    direction, power = conditioned, (residual * conditioned).sum(1)
    for _ in range(iterations):
        if bool((torch.linalg.vector_norm(residual, dim=1) <= enough).all()):
            break
        image = (direction @ moments) * mask
        curvature = (direction * image).sum(1)
        # A row that has ended has no direction left.
        step = torch.where(curvature > 0, power / curvature, 0)[:, None]
        found = found + step * direction
        residual = residual - step * image
        conditioned = residual * scale
        before, power = power, (residual * conditioned).sum(1)
        direction = conditioned + torch.where(before > 0, power / before, 0)[:, None] * direction
    return found
