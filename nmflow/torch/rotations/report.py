"""What users are told of rotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nmflow.torch.orders.order import Kind, Order
from nmflow.torch.orders.report import KeptShares
from nmflow.torch.rotations.heads import turn


@dataclass(frozen=True, slots=True)
class RotatedLayer:
    """One weight and what its masks keep.

    Attributes
    ----------
    name : str
    kept_before, kept_after : float
        Shares of its squares, by what they count for, in the old bases and in the new ones.
    """

    name: str
    kept_before: float
    kept_after: float


@dataclass(frozen=True, slots=True)
class FoundRotation:
    """The bases of an attention's heads.

    Attributes
    ----------
    name : str
        Of where in the model it is.
    kind : {"values", "queries"}
    bases : ndarray of float64, shape (heads, depth, depth)
        Orthogonal; row i of a head's is channel i of now in the channels of the beginning.
    """

    name: str
    kind: Kind
    bases: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RotationReport(KeptShares):
    """The bases of a model's heads, and what they buy; prints as a few lines.

    Attributes
    ----------
    rotations : tuple of FoundRotation
    layers : tuple of RotatedLayer
        Those that follow one of the rotations at least.
    refused : dict of str to str
        What stays in its basis, and why.
    difference : float
        The largest difference of the model's outputs, relative to the largest entry of each.
    seconds : float
    """

    rotations: tuple[FoundRotation, ...]
    layers: tuple[RotatedLayer, ...]
    refused: Mapping[str, str]
    difference: float
    seconds: float
    _turned: tuple[Order, ...] = field(repr=False, default=())

    def undo(self) -> None:
        """Turn the model's heads back: its weights are what they were, but for rounding."""
        for order, found in zip(self._turned, self.rotations, strict=True):
            turn(order, torch.as_tensor(found.bases).mT)

    def as_dict(self) -> dict[str, Any]:
        """The report in values that JSON has, without the bases."""
        return {
            "kept_before": self.kept_before,
            "kept_after": self.kept_after,
            "difference": self.difference,
            "seconds": self.seconds,
            "refused": dict(self.refused),
            "rotations": [
                {"name": each.name, "kind": each.kind, "heads": len(each.bases)}
                for each in self.rotations
            ],
        }

    def __str__(self) -> str:
        heads: Counter[str] = Counter()
        for each in self.rotations:
            heads[each.kind] += len(each.bases)
        counts = ", ".join(f"{count} of {kind}" for kind, count in heads.items())
        head = (
            f"heads turned, {counts}, in {len(self.layers)} weights; kept"
            f" {100 * self.kept_before:.2f} % -> {100 * self.kept_after:.2f} % of squares"
        )
        lines = [f"  not {name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join([head, *lines, f"outputs differ by {self.difference:.1e}"])
