"""In which order data meets the weights, and which of them see the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from nmflow.torch.conversion.calibrating.blocks import Chain, chains_of, run
from nmflow.torch.conversion.calibrating.calibration import Calibration, Runs
from nmflow.torch.conversion.calibrating.features import CONVOLUTIONS
from nmflow.torch.conversion.calibrating.recorder import Recorder
from nmflow.torch.conversion.targets import Target

_WITH_FEATURES_OF_THEIR_OWN = (nn.MultiheadAttention, *CONVOLUTIONS)


@dataclass(frozen=True, slots=True)
class Stage:
    """Weights that are converted together, since they are called with the same tensor in a row.

    Attributes
    ----------
    targets : tuple of Target
    once : bool
        Whether the first batch met each of them once, so that a run may end after the last.
    """

    targets: tuple[Target, ...]
    once: bool

    @property
    def adds_alone(self) -> Target | None:
        """The one weight of the stage, if its outputs have the places of its inputs."""
        if len(self.targets) != 1:
            return None
        (target,) = self.targets
        plain = len(target.sites) == 1 and target.weight.layout.groups == 1
        return target if plain and not isinstance(target.sites[0].module, CONVOLUTIONS) else None

    @property
    def watched(self) -> tuple[Target, ...]:
        """Those of which it has to be watched what they see: one where all see the same."""
        plain = all(
            len(target.sites) == 1 and target.weight.layout.groups == 1 for target in self.targets
        ) and not any(
            isinstance(target.sites[0].module, _WITH_FEATURES_OF_THEIR_OWN)
            for target in self.targets
        )
        return self.targets[-1:] if plain and self.once else self.targets


@dataclass(frozen=True, slots=True)
class Part:
    """Stages that follow each other: in one chain of blocks, or outside any.

    Attributes
    ----------
    chain : Chain or None
    stages : tuple of tuple of Stage
        For each block of the chain; all together without one.
    """

    chain: Chain | None
    stages: tuple[tuple[Stage, ...], ...]


def stages_of(runs: Runs, targets: Sequence[Target]) -> tuple[list[Stage], list[Target]]:
    """The stages, in the order in which data meets them, and the weights that it never does.

    Parameters
    ----------
    runs : Runs
    targets : sequence of Target

    Notes
    -----
    Batches are run until all weights have been met.
    """
    met: list[list[Target]] = []
    counts: dict[str, int] = {}
    last: list[Any] = [None]

    def sink(target: Target, _: Any, tensor: Any) -> None:
        counts[target.name] = counts.get(target.name, 0) + 1
        if counts[target.name] > 1:
            return
        if met and tensor is last[0]:
            met[-1].append(target)
        else:
            met.append([target])
        last[0] = tensor

    once: dict[str, bool] = {}
    with Recorder(runs.root, targets, sink):
        for number, call in enumerate(runs.calls()):
            run(call)
            if number == 0:
                once = {name: count == 1 for name, count in counts.items()}
            if len(counts) == len(targets):
                break
    stages = [
        Stage(tuple(each), all(once.get(target.name, False) for target in each)) for each in met
    ]
    return stages, [target for target in targets if target.name not in counts]


def parts_of(calibration: Calibration, stages: Sequence[Stage]) -> list[Part]:
    """The stages, those of a chain of blocks together where they follow each other."""
    home = {
        id(module): (chain, number)
        for chain in chains_of(calibration)
        for number, block in enumerate(chain.blocks)
        for module in block.modules()
    }
    places = [_place(stage, home) for stage in stages]
    numbers: dict[str, list[int]] = {}
    for place in places:
        if place is not None:
            numbers.setdefault(place[0].name, []).append(place[1])
    parts: list[Part] = []
    done: set[str] = set()
    for position, (stage, place) in enumerate(zip(stages, places, strict=True)):
        if place is not None and place[0].name in done:
            continue
        if place is not None and _in_a_row(places, position, numbers[place[0].name]):
            chain = place[0]
            done.add(chain.name)
            parts.append(Part(chain, _by_block(chain, stages, places)))
        else:
            parts.append(Part(None, ((stage,),)))
    return parts


_Place = tuple[Chain, int] | None


def _place(stage: Stage, home: dict[int, tuple[Chain, int]]) -> _Place:
    """The block in which all of a stage stands."""
    sites = [site for target in stage.targets for site in target.sites]
    found = [home.get(id(site.module)) for site in sites]
    first = found[0]
    alike = first is not None and all(
        each is not None and each[0] is first[0] and each[1] == first[1] for each in found
    )
    return first if alike else None


def _in_a_row(places: Sequence[_Place], position: int, numbers: Sequence[int]) -> bool:
    """Whether all stages of a chain follow each other from here, block by block."""
    here = places[position]
    found = [
        each[1]
        for each in places[position : position + len(numbers)]
        if each is not None and here is not None and each[0] is here[0]
    ]
    return found == list(numbers) == sorted(numbers)


def _by_block(
    chain: Chain, stages: Sequence[Stage], places: Sequence[_Place]
) -> tuple[tuple[Stage, ...], ...]:
    return tuple(
        tuple(
            stage
            for stage, place in zip(stages, places, strict=True)
            if place is not None and place[0] is chain and place[1] == number
        )
        for number in range(len(chain.blocks))
    )
