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
    bytes a group, twice as many with the dense model's. Some features of language models are
    hundreds of times their standard deviation away from 0: the mean of the first call is taken off
    before products are rounded.
    """

    def __init__(self, with_dense: bool = False, keep_inputs: bool = False) -> None:
        self._with_dense = with_dense
        self._keep_inputs = keep_inputs
        self._groups: list[_Sums] = []

    def add(
        self, seen: Sequence[Any], dense: Sequence[Any] | None = None, offset: Any = None
    ) -> None:
        """Add the samples of one call.

        Parameters
        ----------
        seen : sequence of Tensor (samples, features)
            For each group.
        dense : sequence of Tensor, optional
            What the dense model's layer sees at the same places. Where it sees other numbers of
            samples, as experts do whose router decides otherwise, ``seen`` stands for it.
        offset : Tensor (samples, outputs), optional
            What the dense model adds to the outputs beyond what the model adds now; of one group.
        """
        if not self._groups:
            self._groups = [_Sums() for _ in seen]
        for number, (sums, rows) in enumerate(zip(self._groups, seen, strict=True)):
            there = None
            if self._with_dense:
                there = rows if dense is None else dense[number]
                there = there if there.shape == rows.shape else rows
            sums.add(rows, there, offset, self._keep_inputs)

    @property
    def samples(self) -> int:
        """The fewest that a group has seen."""
        return min((sums.count for sums in self._groups), default=0)

    def second(self, centred: bool = False) -> Any:
        """Mean of x x', (groups, features, features); ``centred`` is the covariance."""
        return torch.stack([sums.product("seen", centred) for sums in self._groups])

    def cross(self, centred: bool = False) -> Any:
        """Mean of z x'; None without z."""
        if not self._with_dense:
            return None
        return torch.stack([sums.product("dense", centred) for sums in self._groups])

    def offset(self, centred: bool = False) -> tuple[Any, Any]:
        """Mean of d x', (1, outputs, features), and of d, (1, outputs); None without offsets d."""
        found = [
            (sums.product("offset", centred)[None], sums.mean("offset")[None])
            for sums in self._groups
            if sums.has_offset
        ]
        return found[0] if found else (None, None)

    def mean(self) -> Any:
        """Mean of x, (groups, features)."""
        return torch.stack([sums.mean("seen") for sums in self._groups])

    def dense_mean(self) -> Any:
        """Mean of z; that of x without z."""
        if not self._with_dense:
            return self.mean()
        return torch.stack([sums.mean("dense") for sums in self._groups])

    def inputs(self) -> Any:
        """The samples (groups, samples, features), as many for each group; None if not kept."""
        if not self._keep_inputs:
            return None
        count = self.samples
        return torch.stack([torch.cat(sums.inputs)[:count] for sums in self._groups])


class _Sums:
    """Of one group: of samples less the mean of the first call, so that little cancels later."""

    def __init__(self) -> None:
        self.count = 0
        self.inputs: list[Any] = []
        self._shift: dict[str, Any] = {}
        self._first: dict[str, Any] = {}
        self._second: dict[str, Any] = {}

    @property
    def has_offset(self) -> bool:
        return "offset" in self._second

    def add(self, rows: Any, dense: Any, offset: Any, keep: bool) -> None:
        if offset is None and self.has_offset:
            offset = rows.new_zeros(len(rows), len(self._first["offset"]))
        if not self.has_offset and self.count:
            # Of calls before this one there is none.
            offset = None
        self.count += len(rows)
        seen = self._shifted("seen", rows)
        self._plus(self._second, "seen", seen.mT @ seen)
        for kind, others in (("dense", dense), ("offset", offset)):
            if others is not None:
                self._plus(self._second, kind, self._shifted(kind, others).mT @ seen)
        if keep:
            self.inputs.append(rows.clone())

    def _shifted(self, kind: str, rows: Any) -> Any:
        if kind not in self._shift:
            # A call without samples must not make the mean NaN.
            self._shift[kind] = rows.sum(0) / max(len(rows), 1)
        shifted = rows - self._shift[kind]
        self._plus(self._first, kind, shifted.sum(0, dtype=torch.float64))
        return shifted

    @staticmethod
    def _plus(totals: dict[str, Any], kind: str, part: Any) -> None:
        part = part.to(torch.float64)
        totals[kind] = totals[kind].add_(part) if kind in totals else part

    def mean(self, kind: str) -> Any:
        return self._first[kind] / self.count + self._shift[kind].to(torch.float64)

    def product(self, kind: str, centred: bool) -> Any:
        """Mean of the products of a kind's samples with those seen."""
        product = self._second[kind] / self.count
        product -= torch.outer(self._first[kind], self._first["seen"]) / self.count**2
        return product if centred else product + torch.outer(self.mean(kind), self.mean("seen"))
