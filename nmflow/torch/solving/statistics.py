"""What a refresh changed, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nmflow.problem.scores import ScoreName

# Entries whose scores are summed at a time, so that no copy of a weight is made.
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One weight at a refresh.

    Attributes
    ----------
    n, m : int
        What its mask keeps: during a ramp more than it will in the end.
    entries : int
        Of the weight.
    sad : int
        Sparse architecture divergence (Zhou et al., ICLR 2021): entries of the mask that
        changed; at the first refresh, from a mask that keeps everything.
    kept_score, score : float
        Sum of the scores kept, and of all; NaN unless ``sparsify(kept_scores=True)``.
    seconds : float
        Of its solve; NaN where it was solved together with others, on a GPU.
    """

    n: int
    m: int
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
        """Kept score as a share of all; NaN where it was not summed or there is none."""
        return _share(self.kept_score, self.score)


@dataclass(frozen=True, slots=True)
class RefreshStatistics:
    """One refresh.

    Attributes
    ----------
    step : int
        Optimizer steps before it.
    layers : mapping of str to LayerStatistics
        By the names of the weights; those alone whose masks were solved. On a GPU it waits for the
        device when it is looked at, and raises :class:`nmflow.NmflowError` where weights turned out
        not to be finite and no mask was changed.
    seconds : float
        Wall clock of the whole refresh; on a GPU, until it was under way.
    """

    step: int
    layers: Mapping[str, LayerStatistics]
    seconds: float

    @property
    def n(self) -> int | None:
        """What the masks keep of every m; None where that is not one number for all."""
        return _common(layer.n for layer in self.layers.values())

    @property
    def m(self) -> int | None:
        """As ``n``."""
        return _common(layer.m for layer in self.layers.values())

    @property
    def patterns(self) -> tuple[str, ...]:
        """Which n:m the masks keep, such as ``("4:8",)``."""
        return tuple(dict.fromkeys(f"{each.n}:{each.m}" for each in self.layers.values()))

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
        """Kept score as a share of all; NaN where it was not summed or there is none."""
        return _share(self.kept_score, math.fsum(layer.score for layer in self.layers.values()))

    def __str__(self) -> str:
        share = self.kept_share
        kept = "" if math.isnan(share) else f", kept {share:.2%} of the score"
        return (
            f"step {self.step}: {', '.join(self.patterns)}, flip rate {self.flip_rate:.3g}, SAD"
            f" {self.sad:.4g}{kept}, {self.seconds * 1e3:.3g} ms"
        )


def share_kept(values: Any, mask: Any, score: ScoreName) -> float:
    """What share of the scores a mask keeps; NaN where there are none."""
    return _share(*kept_score(values, mask, score))


def _share(kept: float, total: float) -> float:
    return kept / total if total else math.nan


def _common(numbers: Iterable[int]) -> int | None:
    distinct = set(numbers)
    return distinct.pop() if len(distinct) == 1 else None


def kept_score(values: Any, mask: Any, score: ScoreName) -> tuple[float, float]:
    """The sum of the scores that a mask keeps, and of all.

    Parameters
    ----------
    values : Tensor
        The weight, or the scores given for it.
    mask : bool Tensor
        Of the same shape, on the same device.
    score : {"abs", "square", "raw"}
    """
    return added(block_sums(values, mask, score))


def block_sums(values: Any, mask: Any, score: ScoreName) -> Any:
    """Sums of the scores that a mask keeps, and of all, on their device, for :func:`added`.

    Returns
    -------
    Tensor, shape (2, blocks)
        Of float32 at least.
    """
    flat, kept_flat = values.reshape(-1), mask.reshape(-1)
    sums = []
    for start in range(0, flat.numel(), _BLOCK):
        scores = _scores(flat[start : start + _BLOCK], score)
        kept = (scores * kept_flat[start : start + _BLOCK]).sum()
        sums.append(torch.stack([kept, scores.sum()]))
    return torch.stack(sums, 1) if sums else torch.zeros((2, 0), device=values.device)


def added(sums: Any) -> tuple[float, float]:
    """What :func:`block_sums` of a weight come to."""
    kept, total = (math.fsum(row) for row in sums.tolist())
    return kept, total


def _scores(values: Any, score: ScoreName) -> Any:
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if score == "raw":
        return values
    return values.abs() if score == "abs" else values.square()
