"""What turns together: the channels of each head, in all weights that have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.solve import solve
from nmflow.torch.orders.order import Order, Use
from nmflow.torch.selecting.select import Weight


class SizedWeight:
    """A weight's entries, so large that their squares are its scores.

    Attributes
    ----------
    weight : Weight
    values : Tensor, float32
        Of the weight's shape.

    Parameters
    ----------
    weight : Weight
    features : Tensor (inputs,) or None
        How much the square of a weight counts for each input.
    heads : int
        Of which inputs are the channels, so that they have their mean to count by; 0 if they are
        none.
    """

    def __init__(self, weight: Weight, features: Any, heads: int) -> None:
        self.weight = weight
        values = weight.parameter.detach().to(torch.float32, copy=True)
        if not bool(torch.isfinite(values).all()):
            raise NmflowError(f"{weight.name} is not finite: rotate needs all its values")
        if features is not None:
            counts = features.detach().to(values.device, torch.float64)
            if heads:
                means = counts.reshape(heads, -1).mean(1, keepdim=True)
                counts = means.expand(heads, len(counts) // heads).reshape(-1)
            across = weight.layout.axes[1] % values.ndim
            shape = [1] * values.ndim
            shape[across] = -1
            values *= (counts / counts.mean()).sqrt().to(values.dtype).reshape(shape)
        self.values = values
        self.kept_before = self.kept_share()
        # So that orders that several weights follow gain as much by any of them.
        pruned = (1 - self.kept_before) * float(values.square().sum(dtype=torch.float64))
        self.values /= pruned**0.5 if pruned > 0 else 1.0

    def mask(self, fewer: int = 0) -> Any:
        """The best mask, of so many fewer entries than the pattern's n."""
        pattern = self.weight.pattern
        return solve(
            self.values.square(),
            pattern.n - fewer,
            pattern.m,
            pattern=pattern.name,
            axes=self.weight.layout.axes,
            score="raw",
        )

    def kept_share(self) -> float:
        """The share of its scores that the best mask keeps."""
        squares = self.values.square()
        total = float(squares.sum(dtype=torch.float64))
        return float((squares * self.mask()).sum(dtype=torch.float64)) / total if total else 1.0


class Turning:
    """The heads of an order, and their bases.

    Attributes
    ----------
    order : Order
    bases : Tensor (heads, depth, depth), float32
        Orthogonal: what turns the channels that there were into those that there are.
    start : Tensor (heads, depth, entries), float32
        What the weights had along each channel.

    Parameters
    ----------
    order : Order
    weights : mapping of int to SizedWeight
        Those to be masked, by the ids of their parameters.
    """

    def __init__(self, order: Order, weights: Mapping[int, SizedWeight]) -> None:
        self.order = order
        self._parts = [
            (weights[id(use.value)], use) for use in order.uses if id(use.value) in weights
        ]
        if not self._parts:
            raise NmflowError("no weight that is to be masked follows it")
        self.start = self.taken([weight.values for weight, _ in self._parts])
        depth = self.start.shape[1]
        self.bases = torch.eye(depth, device=self.start.device).repeat(len(self.start), 1, 1)

    @property
    def weights(self) -> list[SizedWeight]:
        """Those that have the channels, one for each use."""
        return [weight for weight, _ in self._parts]

    @property
    def lanes(self) -> Any:
        """What the weights have along each channel now."""
        return self.bases @ self.start

    def taken(self, arrays: Sequence[Any]) -> Any:
        """What arrays of the weights' shapes have along each channel, (heads, depth, entries)."""
        heads = head_count(self.order)
        device = arrays[0].device
        taken = [
            array.index_select(axis, index).movedim(axis, 0).reshape(heads, len(index) // heads, -1)
            for array, (_, use) in zip(arrays, self._parts, strict=True)
            for axis, index in _places(use)
        ]
        return torch.cat([each.to(device) for each in taken], dim=2)

    def put(self) -> None:
        """Give the sized weights the channels that there are now."""
        lanes, first = self.lanes, 0
        for weight, use in self._parts:
            for axis, index in _places(use):
                shape = weight.values.movedim(axis, 0).shape[1:]
                last = first + shape.numel()
                some = lanes[:, :, first:last].reshape(len(index), *shape).movedim(0, axis)
                weight.values.index_copy_(axis, index, some.to(weight.values.device))
                first = last


@torch.no_grad()
def turn(order: Order, bases: Any) -> None:
    """Turn the channels of all that follows an order; bases are (heads, depth, depth), float64."""
    for use in order.uses:
        value = use.value
        by = bases.to(value.device)
        for axis, index in _places(use):
            rows = value.index_select(axis, index).movedim(axis, 0)
            turned = by @ rows.to(torch.float64).reshape(*by.shape[:2], -1)
            value.index_copy_(axis, index, turned.reshape(rows.shape).movedim(0, axis).to(value))


def head_count(order: Order) -> int:
    """How many heads an order's channels belong to, as many to each."""
    assert order.classes is not None
    return int(order.classes.max()) + 1


def _places(use: Use) -> list[tuple[int, Any]]:
    """The axis of a value, and where on it the channels lie: an index for each copy."""
    value = use.value
    axis = use.axis % value.ndim
    if use.places is None:
        return [(axis, torch.arange(value.shape[axis], device=value.device))]
    return [(axis, torch.as_tensor(each, device=value.device)) for each in use.places]
