"""Orders of a model as the search sees them: matrices of scores, and the sides that follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.permuting.shared import SharedOrder, Side
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName
from nmflow.solve import solve
from nmflow.torch.orders.order import Order, Use
from nmflow.torch.selecting.select import Weight
from nmflow.torch.solving.problem import Scorer


class WeightMatrices:
    """The matrices of one weight, in the list of all.

    Parameters
    ----------
    weight : Weight
    first : int
        The number of its first matrix.
    scores : Tensor
        Of the weight's shape.
    """

    def __init__(self, weight: Weight, first: int, scores: Any) -> None:
        self.weight = weight
        self.first = first
        layout = weight.layout
        ndim = weight.parameter.ndim
        self._axes = tuple(axis % ndim for axis in layout.axes)
        apart = layout.matrices(scores)
        apart = apart.unsqueeze(0) if layout.groups == 1 else apart.movedim(self._axes[0], 0)
        pair = [axis + 1 for axis in self._axes]
        apart = apart.movedim(pair, (-2, -1))
        self._groups = layout.groups
        self.matrices = list(apart.reshape(-1, *apart.shape[-2:]).contiguous().numpy())

    def scale(self) -> None:
        """Divide the scores by what the best mask prunes of them, if it prunes anything."""
        kept, total = _kept(self.matrices, self.weight.pattern)
        if total > kept:
            self.matrices = [each / np.float32(total - kept) for each in self.matrices]

    @property
    def numbers(self) -> range:
        """Of its matrices."""
        return range(self.first, self.first + len(self.matrices))

    def sides(self, use: Use, m: int) -> Iterator[Side]:
        """The sides of its matrices that follow an order by some use of the weight.

        Raises
        ------
        NmflowError
            If groups of m positions are not groups of the matrices.
        """
        axis = use.axis % self.weight.parameter.ndim
        if axis not in self._axes:
            return
        side = self._axes.index(axis)
        extent = self.matrices[0].shape[side]
        each = len(self.matrices) // self._groups
        every = np.arange(use.value.shape[axis])[None] if use.places is None else use.places
        for places in every:
            if side == 1 or self._groups == 1:
                numbers, local = self.numbers, places
            else:
                group = int(places[0]) // extent
                numbers, local = self.numbers[group * each : (group + 1) * each], places % extent
                if (places // extent != group).any():
                    raise NmflowError(f"{self.weight.name} has it across several matrices")
            whole = len(local) == extent and (np.diff(local) == 1).all()
            if not whole and not _aligned(local, extent, m):
                raise NmflowError(
                    f"{len(local)} positions of {self.weight.name} are not whole groups of {m}"
                )
            yield from (Side(number, side, None if whole else local) for number in numbers)


def _aligned(places: NDArray[np.int64], extent: int, m: int) -> bool:
    """Whether each group of m positions is a group of the axis."""
    for first in range(0, len(places), m):
        group = places[first : first + m]
        edge = len(group) == m or group[-1] + 1 == extent
        if group[0] % m or not edge or (np.diff(group) != 1).any():
            return False
    return True


def matrices_of(
    weights: Sequence[Weight], score: ScoreName, scorer: Scorer | None
) -> list[WeightMatrices]:
    """The matrices of scores of all weights, scaled so that each one's mask prunes one in all.

    What orders gain is then the share of its loss that each weight wins back, all alike: the mean
    logarithm of losses, to first order.
    """
    found: list[WeightMatrices] = []
    first = 0
    for weight in weights:
        parameter = weight.parameter
        if parameter.is_meta:
            raise NmflowError(f"{weight.name} is on the meta device: load its values first")
        scores = _scores(weight, score, scorer)
        if not bool(torch.isfinite(scores).all()):
            raise NmflowError(f"{weight.name} has scores that are not finite: permute needs all")
        scaled = (scores.double() / (float(scores.abs().max()) or 1.0)).float().cpu()
        found.append(WeightMatrices(weight, first, scaled))
        found[-1].scale()
        first += len(found[-1].matrices)
    return found


def kept_share(matrices: Sequence[NDArray[Any]], pattern: Pattern) -> float:
    """The share of their scores that the best masks of some matrices keep."""
    kept, total = _kept(matrices, pattern)
    return kept / total if total else 1.0


def _kept(matrices: Sequence[NDArray[Any]], pattern: Pattern) -> tuple[float, float]:
    """What the best masks of some matrices keep, and all that there is."""
    scores = np.stack(matrices)
    mask = solve(scores, pattern.n, pattern.m, pattern=pattern.name, score="raw")
    kept = float(np.sum(scores, where=mask, dtype=np.float64))
    return kept, float(scores.sum(dtype=np.float64))


def _scores(weight: Weight, score: ScoreName, scorer: Scorer | None) -> Any:
    parameter = weight.parameter.detach()
    if scorer is None:
        wide = parameter.double()
        return {"abs": wide.abs, "square": wide.square, "raw": wide.clone}[score]()
    scores = scorer(weight.name, parameter)
    if not isinstance(scores, torch.Tensor) or scores.shape != parameter.shape:
        got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise NmflowError(
            f"scores of {weight.name}: expected a tensor of shape {tuple(parameter.shape)},"
            f" got {got}"
        )
    return scores.detach()


def shared_order(order: Order, weights: Sequence[WeightMatrices], m: int) -> SharedOrder:
    """An order as the search sees it.

    Raises
    ------
    NmflowError
        If no weight that is masked follows it, or its groups are not groups of matrices.
    """
    by_parameter = {id(each.weight.parameter): each for each in weights}
    sides: list[Side] = []
    for use in order.uses:
        found = by_parameter.get(id(use.value))
        if found is not None:
            sides += found.sides(use, m)
    if not sides:
        raise NmflowError("no weight that is to be masked follows it")
    return SharedOrder(order.size, tuple(sides), order.classes)
