"""What users are told of orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.pattern import Pattern
from nmflow.torch.orders.order import Kind, Order


@dataclass(frozen=True, slots=True)
class OrderedLayer:
    """One weight and what its masks keep.

    Attributes
    ----------
    name : str
    kept_before, kept_after : float
        Shares of its score, in the old order and in the new one.
    kept_unstructured : float
        The share that the largest n/m of its entries hold: a bound for all orders where m divides
        the shape.
    """

    name: str
    kept_before: float
    kept_after: float
    kept_unstructured: float


@dataclass(frozen=True, slots=True)
class FoundOrder:
    """One order that was searched.

    Attributes
    ----------
    name : str
        Of where in the model it is.
    kind : {"hidden", "channels", "values", "queries", "stream"}
    order : ndarray of int64
        Which index of the beginning lies at each position now.
    gain : float
        What all weights keep more by it, each in units of what its mask pruned before.
    """

    name: str
    kind: Kind
    order: NDArray[np.int64]
    gain: float


class KeptShares:
    """What the masks of a report's layers keep, before and after."""

    __slots__ = ()
    layers: Sequence[Any]

    @property
    def kept_before(self) -> float:
        """The mean share of score that the layers' masks kept."""
        return float(np.mean([layer.kept_before for layer in self.layers]))

    @property
    def kept_after(self) -> float:
        """The mean share of score that they keep now."""
        return float(np.mean([layer.kept_after for layer in self.layers]))


@dataclass(frozen=True, slots=True)
class OrderReport(KeptShares):
    """The orders of a model, and what they buy; prints as a line for each kind.

    Attributes
    ----------
    pattern : Pattern
    orders : tuple of FoundOrder
    layers : tuple of OrderedLayer
        Those that follow one of the orders at least.
    refused : dict of str to str
        What stays in its order, and why.
    difference : float
        The largest difference of the model's outputs, relative to the largest entry of each.
    rounds : int
    seconds : float
    """

    pattern: Pattern
    orders: tuple[FoundOrder, ...]
    layers: tuple[OrderedLayer, ...]
    refused: Mapping[str, str]
    difference: float
    rounds: int
    seconds: float
    _moved: tuple[Order, ...] = field(repr=False, default=())

    @property
    def kept_unstructured(self) -> float:
        """The mean share that unstructured masks keep."""
        return float(np.mean([layer.kept_unstructured for layer in self.layers]))

    @property
    def gap_closed(self) -> float:
        """The share of what the pattern costs against unstructured masks that is won back."""
        gap = self.kept_unstructured - self.kept_before
        return (self.kept_after - self.kept_before) / gap if gap > 0 else 0.0

    def undo(self) -> None:
        """Put the model's weights back as they lay, to the last bit."""
        for order, found in zip(self._moved, self.orders, strict=True):
            order.move(np.argsort(found.order))

    def as_dict(self) -> dict[str, Any]:
        """The report in values that JSON has, orders and all."""
        return {
            "kept_before": self.kept_before,
            "kept_after": self.kept_after,
            "kept_unstructured": self.kept_unstructured,
            "difference": self.difference,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "refused": dict(self.refused),
            "orders": [
                {"name": each.name, "kind": each.kind, "order": each.order.tolist()}
                for each in self.orders
            ],
        }

    def __str__(self) -> str:
        kinds: dict[str, list[FoundOrder]] = {}
        for order in self.orders:
            kinds.setdefault(order.kind, []).append(order)
        lines = [
            f"  {kind}: {len(found)} orders of {_sizes(found)}" for kind, found in kinds.items()
        ]
        head = (
            f"{self.pattern}: {len(self.orders)} orders of {len(self.layers)} weights; kept"
            f" {100 * self.kept_before:.2f} % -> {100 * self.kept_after:.2f} %, unstructured"
            f" {100 * self.kept_unstructured:.2f} %"
        )
        lines += [f"  not {name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join([head, *lines, f"outputs differ by {self.difference:.1e}"])


def _sizes(orders: list[FoundOrder]) -> str:
    return ", ".join(map(str, sorted({len(order.order) for order in orders})))
