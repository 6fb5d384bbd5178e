"""The search for bases: steps of Procrustes, first to what is sparse, then to what masks keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from nmflow.torch.rotations.heads import SizedWeight, Turning

# Of Welsch's function, relative to the root mean square of a head's entries: what is far above
# counts as large, whatever its size. From wide to narrow, so that few ends in a bad optimum.
_WIDTHS = (2.0, 1.4, 1.0, 0.7)


def ascend(turnings: Sequence[Turning], steps: int) -> None:
    """Turn heads so that the masks of their weights keep more of the squares.

    Parameters
    ----------
    turnings : sequence of Turning
        No two of which have an entry of a weight in common.
    steps : int
        For each width, and for each number that masks keep.

    Notes
    -----
    A basis A is to maximise a sum f(A X) of a convex f. So it is no less than what its tangent at
    the basis that there is makes of it, whose maximum among orthogonal matrices is the polar factor
    of grad f(A X) X' (Schönemann, "A generalized solution of the orthogonal Procrustes problem",
    Psychometrika 1966): f never falls from step to step. First f is the sum of y^2 / 2 +
    w^2 exp(-y^2 / 2w^2), which is large where most entries are nearly nothing, as in independent
    component analysis (Hyvärinen, "Fast and robust fixed-point algorithms for independent component
    analysis", IEEE TNN 1999). Then it is what exact masks keep of y^2, those of one entry less in
    each group before those of n.
    """
    if not turnings:
        return
    for turning in turnings:
        power = turning.start.square().mean((1, 2), keepdim=True)
        for width in _WIDTHS:
            scale = (2 * width**2 * power).clamp_min(torch.finfo(power.dtype).tiny)
            for _ in range(steps):
                lanes = turning.lanes
                _pull(turning, lanes * -torch.expm1(-lanes.square() / scale))
    for fewer in (1, 0):
        for _ in range(steps):
            _follow_masks(turnings, fewer)
    for turning in turnings:
        turning.put()


def kept_of(turnings: Sequence[Turning]) -> list[float]:
    """What masks keep of each one's entries, as they are put."""
    masks = _masks(turnings, 0)
    return [
        float((turning.lanes.square() * _held(turning, masks)).sum(dtype=torch.float64))
        for turning in turnings
    ]


def polar(matrices: Any) -> Any:
    """The nearest orthogonal matrices."""
    # PyTorch's factors of small matrices wait for threads many times as long as they work.
    left, _, right = np.linalg.svd(matrices.cpu().numpy())
    return torch.from_numpy(left @ right).to(matrices.device)


def _follow_masks(turnings: Sequence[Turning], fewer: int) -> None:
    for turning in turnings:
        turning.put()
    masks = _masks(turnings, fewer)
    for turning in turnings:
        _pull(turning, turning.lanes * _held(turning, masks))


def _pull(turning: Turning, pull: Any) -> None:
    turning.bases = polar(pull @ turning.start.mT)


def _masks(turnings: Sequence[Turning], fewer: int) -> dict[int, Any]:
    """The masks of all weights, each once, by their ids."""
    weights: dict[int, SizedWeight] = {
        id(weight): weight for turning in turnings for weight in turning.weights
    }
    return {
        key: weight.mask(fewer if weight.weight.pattern.n > fewer else 0)
        for key, weight in weights.items()
    }


def _held(turning: Turning, masks: dict[int, Any]) -> Any:
    return turning.taken([masks[id(weight)] for weight in turning.weights])
