"""What a refresh changed, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One weight at a refresh.

    Attributes
    ----------
    entries : int
        Of the weight.
    sad : int
        Sparse architecture divergence (Zhou et al., ICLR 2021): entries of the mask that
        changed; at the first refresh, from a mask that keeps everything.
    kept_score, score : float
        Sum of the scores kept, and of all.
    seconds : float
    """

    entries: int
    sad: int
    kept_score: float
    score: float
    seconds: float

    @property
    def flip_rate(self) -> float:
        """SAD as a share of all entries."""
        return self.sad / self.entries

    @property
    def kept_share(self) -> float:
        """Kept score as a share of all; NaN where there is none."""
        return self.kept_score / self.score if self.score else math.nan


@dataclass(frozen=True, slots=True)
class RefreshStatistics:
    """One refresh.

    Attributes
    ----------
    step : int
        Optimizer steps before it.
    n, m : int
        What the masks keep: during a ramp more than they will in the end.
    layers : mapping of str to LayerStatistics
        By the names of the weights.
    seconds : float
        Wall clock of the whole refresh.
    """

    step: int
    n: int
    m: int
    layers: Mapping[str, LayerStatistics]
    seconds: float

    @property
    def sad(self) -> float:
        """The layers' mean."""
        return sum(layer.sad for layer in self.layers.values()) / len(self.layers)

    @property
    def flip_rate(self) -> float:
        """Changed entries of all layers as a share of all entries."""
        changed = sum(layer.sad for layer in self.layers.values())
        return changed / sum(layer.entries for layer in self.layers.values())

    @property
    def kept_score(self) -> float:
        """The layers' sum."""
        return math.fsum(layer.kept_score for layer in self.layers.values())

    @property
    def kept_share(self) -> float:
        """Kept score as a share of all; NaN where there is none."""
        score = math.fsum(layer.score for layer in self.layers.values())
        return self.kept_score / score if score else math.nan

    def __str__(self) -> str:
        return (
            f"step {self.step}: {self.n}:{self.m}, flip rate {self.flip_rate:.3g}, SAD"
            f" {self.sad:.4g}, kept {self.kept_share:.2%} of the score, {self.seconds * 1e3:.3g} ms"
        )


def scores_of(weights: Any, score: str) -> Any:
    """The scores of some weights, in float32 at least."""
    values = weights.to(torch.promote_types(weights.dtype, torch.float32))
    if score == "raw":
        return values
    return values.abs() if score == "abs" else values.square()
