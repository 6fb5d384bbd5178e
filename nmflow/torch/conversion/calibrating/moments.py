"""Second moments of what a layer sees, gathered call by call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Moments:
    """Sums over samples of the features x of a weight, and of those z of the dense model.

    Parameters
    ----------
    with_dense : bool
        Whether there are z.
    keep_inputs : bool
        Whether samples themselves are kept.

    Notes
    -----
    Products are taken in float32 (float64 where features are), their sums in float64: 8 features^2
    bytes a group, twice as many with the dense model's.
    """

    def __init__(self, with_dense: bool = False, keep_inputs: bool = False) -> None:
        self._with_dense = with_dense
        self._keep_inputs = keep_inputs
        self._groups: list[_Sums] = []

    def add(self, seen: Sequence[Any], dense: Sequence[Any] | None = None) -> None:
        """Add the samples of one call.

        Parameters
        ----------
        seen : sequence of Tensor (samples, features)
            For each group.
        dense : sequence of Tensor, optional
            What the dense model's layer sees at the same places. Where it sees other numbers of
            samples, as experts do whose router decides otherwise, ``seen`` stands for it.
        """
        if not self._groups:
            self._groups = [_Sums() for _ in seen]
        for number, (sums, rows) in enumerate(zip(self._groups, seen, strict=True)):
            there = None
            if self._with_dense:
                there = rows if dense is None else dense[number]
                there = there if there.shape == rows.shape else rows
            sums.add(rows, there, self._keep_inputs)

    @property
    def samples(self) -> int:
        """The fewest that a group has seen."""
        return min((sums.count for sums in self._groups), default=0)

    def second(self) -> Any:
        """Mean of x x', (groups, features, features)."""
        return torch.stack([sums.second / sums.count for sums in self._groups])

    def mean(self) -> Any:
        """Mean of x, (groups, features)."""
        return torch.stack([sums.first / sums.count for sums in self._groups])

    def cross(self) -> Any:
        """Mean of z x'; None without z."""
        if not self._with_dense:
            return None
        return torch.stack([sums.cross / sums.count for sums in self._groups])

    def dense_mean(self) -> Any:
        """Mean of z; that of x without z."""
        if not self._with_dense:
            return self.mean()
        return torch.stack([sums.dense_first / sums.count for sums in self._groups])

    def inputs(self) -> Any:
        """The samples (groups, samples, features), as many for each group; None if not kept."""
        if not self._keep_inputs:
            return None
        count = self.samples
        return torch.stack([torch.cat(sums.inputs)[:count] for sums in self._groups])


class _Sums:
    """Of one group."""

    def __init__(self) -> None:
        self.count = 0
        self.second: Any = 0
        self.first: Any = 0
        self.cross: Any = 0
        self.dense_first: Any = 0
        self.inputs: list[Any] = []

    def add(self, rows: Any, dense: Any, keep: bool) -> None:
        self.count += len(rows)
        self.second = _plus(self.second, rows.mT @ rows)
        self.first = _plus(self.first, rows.sum(0, dtype=torch.float64))
        if dense is not None:
            self.cross = _plus(self.cross, dense.mT @ rows)
            self.dense_first = _plus(self.dense_first, dense.sum(0, dtype=torch.float64))
        if keep:
            self.inputs.append(rows.clone())


def _plus(total: Any, part: Any) -> Any:
    part = part.to(torch.float64)
    return part if isinstance(total, int) else total.add_(part)
