"""DTensors: every process solves its shard, and the mask is a DTensor that lies as the weights do.

Shards that cut tiles exchange rows first (:mod:`nmflow.sharded.exchange`). An axis that several
dimensions of the mesh shard, or shard in an order of its own (as FSDP with tensor parallelism
does), is first gathered along all of them but one. What one process can't do, all raise: none waits
for another that has given up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.tensor import DTensor, Replicate, Shard

from nmflow.errors import NmflowError
from nmflow.problem.arrays import Part, to_host
from nmflow.proof.certificate import Tally
from nmflow.sharded.exchange import cuts_none, exchange, shard_bounds, tile_bounds
from nmflow.sharded.whole import Each, Whole, call

Result = TypeVar("Result")


class Pieces:
    """The shards of a DTensor; its methods are called by all processes of the mesh together."""

    def __init__(self, weights: DTensor) -> None:
        self.weights = weights.detach()

    def stand_in(self) -> Any:
        """An array of the same shape and dtype, which holds nothing and takes no memory."""
        mesh = self.weights.device_mesh
        if mesh.get_coordinate() is None:
            raise NmflowError(
                f"weights are a DTensor on {mesh}, which this process, of rank"
                f" {distributed.get_rank()}, is not part of: call from those that are alone"
            )
        for placement in self.weights.placements:
            if placement.is_partial():
                raise NmflowError(
                    f"weights are a DTensor of placements {_told(self.weights)}, whose values are"
                    " sums that nobody has made yet: redistribute it to Shard or Replicate first"
                )
        return torch.zeros((), dtype=self.weights.dtype).expand(self.weights.shape)

    def masks(self, each: Each, whole: Whole, others: Mapping[str, Any]) -> Any:
        """The mask, in the placements of the weights."""
        weights = self.weights
        plan = Plan.of(weights, whole)
        parts = plan.whole_tiles(weights, others)
        mask = agreed(weights, lambda: plan.call(each, parts))
        given = plan.back(mask)
        found = DTensor.from_local(
            *(given, weights.device_mesh, plan.placements),
            run_check=False,
            shape=weights.shape,
            stride=_strides(weights.shape),
        )
        return found.redistribute(placements=weights.placements)

    def tallies(self, each: Each, whole: Whole, others: Mapping[str, Any]) -> Sequence[Tally]:
        """Those of all shards, in every process; of replicas only one's."""
        weights = self.weights
        plan = Plan.of(weights, whole)
        parts = plan.whole_tiles(weights, others)

        def tally() -> Tally:
            found: Tally = plan.call(each, parts)
            return whole.moved(found, plan.start, plan.shape)

        found = [agreed(weights, tally)]
        for dim, placement in enumerate(plan.placements):
            if placement.is_shard():
                found = [one for part in _gathered(weights, dim, found) for one in part]
        return found


@dataclass(frozen=True, slots=True)
class Move:
    """How an axis that a dimension of the mesh shards is cut, and how it has to be.

    Attributes
    ----------
    dim, axis : int
        Of the mesh, and of the tensor.
    bounds, wanted : list of int
    """

    dim: int
    axis: int
    bounds: list[int]
    wanted: list[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where each process finds whole tiles. All processes make the same one, without a message.

    Attributes
    ----------
    whole : Whole
    mesh : DeviceMesh
    placements : tuple of Placement
        In which every axis is sharded once, or not at all.
    moves : tuple of Move
        Of every dimension that shards.
    start, shape : tuple of int
        Of this process's part, once tiles are whole.
    """

    whole: Whole
    mesh: Any
    placements: tuple[Any, ...]
    moves: tuple[Move, ...]
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, weights: DTensor, whole: Whole) -> Plan:
        """The plan for a tensor, as every process of its mesh makes it."""
        mesh = weights.device_mesh
        placements = _once_each(weights)
        moves, start, shape = [], [0] * weights.ndim, list(weights.shape)
        for dim, placement in enumerate(placements):
            if not placement.is_shard():
                continue
            axis, shards = placement.dim, mesh.size(dim)
            length, step = weights.shape[axis], whole.steps[axis]
            bounds = shard_bounds(length, shards)
            wanted = bounds if cuts_none(bounds, step) else tile_bounds(length, shards, step)
            moves.append(Move(dim, axis, bounds, wanted))
            rank = mesh.get_local_rank(dim)
            start[axis], shape[axis] = wanted[rank], wanted[rank + 1] - wanted[rank]
        return cls(whole, mesh, placements, tuple(moves), tuple(start), tuple(shape))

    def whole_tiles(
        self, weights: DTensor, others: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The part of the weights that is for this process, and those of other arrays by name."""

        def local() -> Any:
            part = weights.redistribute(placements=self.placements).to_local()
            expected = list(weights.shape)
            for move in self.moves:
                rank = self.mesh.get_local_rank(move.dim)
                expected[move.axis] = move.bounds[rank + 1] - move.bounds[rank]
            if list(part.shape) != expected:
                raise NmflowError(
                    f"weights are a DTensor of placements {_told(weights)} whose shard here has"
                    f" shape {tuple(part.shape)}, and not {tuple(expected)} as torch.chunk cuts:"
                    " distribute it anew (distribute_tensor)"
                )
            return part

        part = agreed(weights, local)
        for move in self.moves:
            part = self._moved(part, move, move.bounds, move.wanted)
        return part, {name: self._part(other, name) for name, other in others.items()}

    def call(self, each: Each, parts: tuple[Any, dict[str, Any]]) -> Any:
        """What ``each`` makes of the part."""
        part, others = parts
        return call(each, part, Part(self.whole.shape, self.start), others)

    def back(self, mask: Any) -> Any:
        """The mask's part, as the placements have it."""
        for move in reversed(self.moves):
            mask = self._moved(mask, move, move.wanted, move.bounds)
        return mask

    def _moved(self, part: Any, move: Move, bounds: list[int], wanted: list[int]) -> Any:
        if bounds == wanted:
            return part
        return exchange(part, move.axis, bounds, wanted, self.mesh.get_group(move.dim))

    def _part(self, other: Any, name: str) -> Any:
        """The part of an array that all processes have, or of another DTensor."""
        if isinstance(other, DTensor):
            if other.device_mesh != self.mesh:
                raise NmflowError(
                    f"{name} is a DTensor on {other.device_mesh}, and the weights are one on"
                    f" {self.mesh}: pass one on the same mesh, or a whole tensor"
                )
            part = other.detach().redistribute(placements=self.placements).to_local()
            for move in self.moves:
                part = self._moved(part, move, move.bounds, move.wanted)
            return part
        box = tuple(slice(a, a + n) for a, n in zip(self.start, self.shape, strict=True))
        return to_host(other, name).values[box]


def _once_each(weights: DTensor) -> tuple[Any, ...]:
    """The placements, with no axis sharded twice, or in another order than from first to last."""
    kept: dict[int, int] = {}
    for dim, placement in enumerate(weights.placements):
        if type(placement) is Shard:
            kept.setdefault(placement.dim % weights.ndim, dim)
    shards = {dim: axis for axis, dim in kept.items()}
    return tuple(
        Shard(shards[dim]) if dim in shards else Replicate()
        for dim in range(weights.device_mesh.ndim)
    )


def agreed(weights: DTensor, work: Callable[[], Result]) -> Result:
    """The result of work of every process; if one's raises, all raise."""
    result, error = None, None
    try:
        result = work()
    except Exception as raised:
        error = raised
    failed = torch.tensor([error is not None], dtype=torch.int32, device=weights.to_local().device)
    for dim in range(weights.device_mesh.ndim):
        distributed.all_reduce(
            failed, distributed.ReduceOp.MAX, group=weights.device_mesh.get_group(dim)
        )
    if not failed.item():
        assert result is not None
        return result
    texts = [None if error is None else str(error)]
    for dim in range(weights.device_mesh.ndim):
        texts = [text for part in _gathered(weights, dim, texts) for text in part]
    if error is not None and not isinstance(error, NmflowError):
        raise error
    raise NmflowError(next(text for text in texts if text is not None)) from error


def _gathered(weights: DTensor, dim: int, item: Any) -> list[Any]:
    """What each process along a dimension of the mesh has, in their order."""
    found = [None] * weights.device_mesh.size(dim)
    distributed.all_gather_object(found, item, group=weights.device_mesh.get_group(dim))
    return found


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides: tuple[int, ...] = torch.empty(tuple(shape), device="meta").stride()
    return strides


def _told(weights: DTensor) -> str:
    return f"({', '.join(map(str, weights.placements))})"
