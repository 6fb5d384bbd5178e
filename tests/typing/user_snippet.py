"""What users write, for their type checkers: checked by test_typing.py, never run."""

from collections.abc import Iterable
from fractions import Fraction
from typing import assert_type

import numpy as np
import torch
from numpy.typing import NDArray

import nmflow
import nmflow.torch


def masks(weights: NDArray[np.float32]) -> NDArray[np.bool_]:
    """An array of numpy gives one of bool; options are known by name."""
    mask = nmflow.solve(weights, 4, 8)
    assert_type(mask, NDArray[np.bool_])
    best = nmflow.solve(weights, 4, 8, nmflow.Entropic(tau=60.0), score="square", workers=2)
    assert_type(best, NDArray[np.bool_])
    certificate = nmflow.certify(weights, mask, 4, 8, axes=(-2, -1))
    assert_type(certificate, nmflow.Certificate)
    assert_type(certificate.gap, float)
    assert_type(certificate.violations, tuple[nmflow.Violation, ...])
    return mask


def methods() -> list[str]:
    """The registry."""
    return [method.name for method in nmflow.methods() if method.exact]


def tracked(steps: Iterable[NDArray[np.float64]]) -> int:
    """A mask that follows the weights."""
    tracker = nmflow.Tracker((64, 64), 4, 8, score="abs")
    out = np.empty((64, 64), np.bool_)
    flipped = 0
    for weights in steps:
        mask, update = tracker.update(weights)
        assert_type(mask, NDArray[np.bool_])
        assert_type(update, nmflow.Update)
        out, _ = tracker.update(weights, out=out)
        flipped += tracker.refresh(weights).flipped
    assert_type(tracker.mask, NDArray[np.bool_])
    return flipped


def counted() -> tuple[int, int, float, float]:
    """Exact counts are integers, asymptotic ones are not."""
    exact = nmflow.mask_diversity(4, 8)
    assert_type(exact, int)
    papers = nmflow.mask_diversity(4, 8, "rows", shape=(64, 64), method="paper")
    assert_type(papers, int)
    near = nmflow.mask_diversity(4, 8, method="asymptotic")
    assert_type(near, float)
    return exact, papers, near, nmflow.log10_mask_diversity(4, 8)


def fitted(weights: NDArray[np.float32]) -> int:
    """A probability is a float, or a Fraction on request; shares are numbers of any kind."""
    zeros = 1 - np.count_nonzero(weights) / weights.size
    assert_type(nmflow.group_fit_probability(4, 8, sparsity=zeros), float)
    exact = nmflow.group_fit_probability(4, 8, density=Fraction(1, 10), result="fraction")
    assert_type(exact, Fraction)
    return nmflow.suggest_n(8, zeros, confidence=np.float32(0.99), pattern="rows")


def other_arrays(weights: torch.Tensor, lists: list[list[float]]) -> torch.Tensor:
    """A tensor gives a tensor; of what nmflow doesn't know the mask is what the user says it is."""
    mask = nmflow.solve(weights, 2, 4)
    assert_type(mask, torch.Tensor)
    assert nmflow.certify(weights, mask, 2, 4).optimal
    kept: NDArray[np.bool_] = nmflow.solve(lists, 2, 4)
    tracked, _ = nmflow.Tracker((64, 64), 4, 8).update(weights)
    assert_type(tracked, torch.Tensor)
    return mask if kept.any() else tracked


def train(model: torch.nn.Module) -> dict[str, nmflow.Certificate]:
    """A model under masks."""
    handle = nmflow.torch.sparsify(
        model, 4, 8, refresh=nmflow.torch.Refresh(every=40), rule="sr-ste", include=["*mlp*"]
    )
    assert_type(handle, nmflow.torch.Handle)
    statistics = handle.step()
    if statistics is not None:
        assert_type(statistics, nmflow.torch.RefreshStatistics)
    proofs = handle.certify()
    handle.bake()
    several = nmflow.torch.sparsify(model, {"*mlp*": (2, 4)}, refresh=None)
    assert_type(several.report, nmflow.torch.Report)
    return dict(proofs)


def refused(weights: NDArray[np.float32]) -> None:
    """Options that don't exist are errors, which the checkers must see."""
    nmflow.solve(weights, 4, 8, pattern="diagonal")  # type: ignore
    nmflow.solve(weights, 4, 8, score="cube")  # type: ignore
    nmflow.certify(weights, weights, "4", 8)  # type: ignore
    nmflow.mask_diversity(4, 8, method="guess")  # type: ignore
    nmflow.Tracker(64, 4, 8)  # type: ignore
