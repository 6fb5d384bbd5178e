"""Masks of many weights by a few launches on a GPU; what came of it is told when somebody looks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nmflow.cuda.problem import FLIPPED, NOT_FINITE
from nmflow.device.kernels import Kind, Solved, kind_of, potentials_of, solve_each
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.torch.masking.sharding import is_sharded
from nmflow.torch.solving.layer import Layer
from nmflow.torch.solving.statistics import LayerStatistics, added, block_sums

# A counter is written as unsigned.
_WORD = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class _Member:
    """One weight: what is solved of it, and the mask in force, both as matrices (B, R, C)."""

    layer: Layer
    n: int
    values: Any
    matrices: Any
    in_force: Any


class Joint:
    """Masks of weights that kernels solve, weights of a kind by the same launches.

    Attributes
    ----------
    names : set of str
        Of the weights that are in it.
    """

    def __init__(self, groups: Mapping[Kind, Sequence[_Member]]) -> None:
        self._groups = [(each, _solve(kind, each)) for kind, each in groups.items()]
        self.names = {member.layer.name for each in groups.values() for member in each}
        found: dict[Any, list[Any]] = {}
        for _, solved in self._groups:
            found.setdefault(solved.kind.device, []).append(solved.counters[:, NOT_FINITE])
        # Where it is not 0, no mask of the device changes.
        self._refused = {
            device: torch.cat(flags).any().to(torch.int32) for device, flags in found.items()
        }

    @classmethod
    def of(cls, work: Sequence[tuple[Layer, int]]) -> Joint:
        """Start to solve all weights that kernels can; nothing waits for them, or changes masks."""
        groups: dict[Kind, list[_Member]] = {}
        for layer, n in work:
            found = _member(layer, n)
            if found is not None:
                groups.setdefault(found[0], []).append(found[1])
        return cls(groups)

    @property
    def alone(self) -> bool:
        """Whether all of it is on one device, which knows by itself whether masks may change."""
        return len(self._refused) == 1

    def failures(self) -> list[str]:
        """What is wrong with each weight that can't be solved; waits for the devices."""
        return [
            member.layer.not_finite(member.values)
            for members, solved in self._groups
            for member, flag in zip(members, solved.counters[:, NOT_FINITE].tolist(), strict=True)
            if flag
        ]

    def accept(self, step: int, kept_scores: bool) -> Outcome:
        """Put the masks in force once they are there; none of a device with NaN or infinity."""
        parts = []
        for members, solved in self._groups:
            solved.put_in_force(
                [member.in_force for member in members], self._refused[solved.kind.device]
            )
            sums = []
            for member in members:
                masked = member.layer.masked
                torch.autograd.graph.increment_version(masked.mask)
                if kept_scores:
                    score = masked.problem.solver_score
                    sums.append(block_sums(member.values, masked.mask, score))
            parts.append(_Part([(each.layer, each.n) for each in members], solved.counters, sums))
        return Outcome(parts, step)


def _member(layer: Layer, n: int) -> tuple[Kind, _Member] | None:
    """A weight with what solves it; None where kernels don't."""
    problem, solver = layer.masked.problem, layer.solver
    weight = layer.weight
    # A user's function is called where weights are solved one by one: once, and no more than one
    # weight's scores are in memory.
    if not problem.plain or problem.scorer or is_sharded(weight):
        return None
    pattern = Pattern(n, problem.pattern.m)
    try:
        values = layer.values()
        in_force = solver.batch_of(layer.mask, view=True)
        matrices = solver.batch_of(values)
    except (NmflowError, RuntimeError):
        # What is wrong with it is told where weights are solved one by one.
        return None
    if layer.mask.device != values.device:
        return None
    kind = kind_of(matrices, pattern, problem.solver_score, problem.tracked)
    return None if kind is None else (kind, _Member(layer, n, values, matrices, in_force))


def _solve(kind: Kind, members: Sequence[_Member]) -> Solved:
    warm = []
    if kind.warm:
        for member in members:
            solver = member.layer.solver
            solver.potentials = potentials_of(member.matrices, kind.m, solver.potentials)
            warm.append(solver.potentials)
    return solve_each(kind, [member.matrices for member in members], warm)


class Reading:
    """Tensors on their way to the host.

    Parameters
    ----------
    tensors : sequence of Tensor
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._host = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._events = []
        for device in {tensor.device for tensor in tensors if tensor.is_cuda}:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(device))
            self._events.append(event)

    def ready(self) -> bool:
        """Whether they are there."""
        return all(event.query() for event in self._events)

    def wait(self) -> list[Any]:
        """The tensors in host memory."""
        for event in self._events:
            event.synchronize()
        return self._host


@dataclass(frozen=True, slots=True)
class _Part:
    """Weights of one kind, with what counts for them on their device."""

    members: Sequence[tuple[Layer, int]]
    counters: Any
    sums: Sequence[Any]


class Outcome(Mapping[str, LayerStatistics]):
    """What became of each weight of a :class:`Joint`, by name; looking waits for the device.

    What masks keep is noted at the first look.

    Raises
    ------
    NmflowError
        At each look, where weights were not finite: then all masks stayed as they were.
    """

    def __init__(self, parts: Sequence[_Part], step: int) -> None:
        self._parts = list(parts)
        self._reading = Reading(
            [tensor for part in parts for tensor in (part.counters, *part.sums)]
        )
        self._names = [layer.name for part in parts for layer, _ in part.members]
        self._step = step
        self._known: dict[str, LayerStatistics] | None = None
        self._error: NmflowError | None = None

    def ready(self) -> bool:
        """Whether a look would not wait."""
        return self._reading.ready()

    def look(self) -> dict[str, LayerStatistics]:
        """All of it."""
        if self._known is None and self._error is None:
            self._read(iter(self._reading.wait()))
        if self._error is not None:
            raise self._error
        assert self._known is not None
        return self._known

    def _read(self, host: Iterator[Any]) -> None:
        known, wrong = {}, []
        for part in self._parts:
            counters = next(host).tolist()
            sums = [added(next(host)) for _ in part.sums] or [(math.nan, math.nan)] * len(counters)
            for (layer, n), counts, scores in zip(part.members, counters, sums, strict=True):
                entries, m = layer.mask.numel(), layer.pattern.m
                flipped = counts[FLIPPED] & _WORD
                known[layer.name] = LayerStatistics(n, m, entries, flipped, *scores, math.nan)
                if counts[NOT_FINITE]:
                    wrong.append(layer.not_finite(layer.weight.detach()))
        if wrong:
            self._error = no_masks(self._step, wrong)
        else:
            self._known = known
            for layer, n in (member for part in self._parts for member in part.members):
                layer.masked.kept, layer.masked.given = n, False
        self._parts = []

    def __getitem__(self, name: str) -> LayerStatistics:
        return self.look()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> Any:
        return dict, (self.look(),)


def no_masks(step: int, failures: Sequence[str]) -> NmflowError:
    """The error of a refresh that changed nothing."""
    listed = "\n".join(sorted(failures))
    return NmflowError(f"no masks at step {step}, all stay as they were;\n{listed}")
