"""Blocks that repeat, run one at a time on what the one before has put out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from nmflow.torch.conversion.calibrating.calibration import Call, Runs
from nmflow.torch.conversion.calibrating.recorder import Enough


@dataclass(frozen=True, slots=True)
class Chain:
    """Blocks of which each takes what the one before returns, and else the same as the others.

    Attributes
    ----------
    name : str
        Of the list of blocks.
    blocks : tuple of Module
    place : int or str
        Of the argument that goes from block to block: its position, or its keyword.
    """

    name: str
    blocks: tuple[Any, ...]
    place: int | str


@dataclass
class _Call:
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    counts: Any

    def put(self, place: int | str, value: Any) -> None:
        if isinstance(place, int):
            self.args = (*self.args[:place], value, *self.args[place + 1 :])
        else:
            self.kwargs = self.kwargs | {place: value}


class Block:
    """A block, run on the calls that were recorded of it."""

    def __init__(self, root: Any, calls: Sequence[_Call], place: int | str) -> None:
        self.root = root
        self._calls = list(calls)
        self._place = place
        self._counts: Any = None

    def counts(self) -> Any:
        """Which positions of the running call count."""
        return self._counts

    def calls(self) -> Iterator[Call]:
        """Each recorded call once more."""
        for call in self._calls:
            yield partial(self._run, call)

    def _run(self, call: _Call) -> Any:
        self._counts = call.counts
        return output_of(self.root(*call.args, **call.kwargs))

    def followed_by(self, root: Any) -> Block:
        """The next block, on what this one returns; this one's own inputs are freed."""
        for call in self._calls:
            call.put(self._place, self._run(call))
        return Block(root, self._calls, self._place)

    def copy(self) -> Block:
        """The same calls, whose inputs may go another way from here."""
        calls = [_Call(each.args, each.kwargs, each.counts) for each in self._calls]
        return Block(self.root, calls, self._place)


def output_of(returned: Any) -> Any:
    """Of what a block returns, what the next one takes."""
    return returned[0] if isinstance(returned, tuple | list) and returned else returned


def chains_of(runs: Runs) -> list[Chain]:
    """The lists of blocks that prove, on the first batch, to be chains.

    Nothing is taken for granted: each block must be called once, with the very tensor that the
    block before has returned and otherwise with the same, and must return the same again when it
    is called again.
    """
    lists = dict(_candidates(runs.root))
    seen: dict[int, list[tuple[Any, Any, Any]]] = {}
    hooks = [
        block.register_forward_hook(_watch(seen), with_kwargs=True)
        for blocks in lists.values()
        for block in blocks
    ]
    try:
        next(runs.calls())()
    finally:
        for hook in hooks:
            hook.remove()
    chains = []
    for name, blocks in lists.items():
        calls = [seen.get(id(block), []) for block in blocks]
        place = _place(calls) if all(len(each) == 1 for each in calls) else None
        if place is not None and _repeats(blocks[0], calls[0][0]):
            chains.append(Chain(name, blocks, place))
    return chains


def record(chain: Chain, runs: Runs, may_stop: bool) -> Block:
    """The first block, on all that the model calls it with.

    Parameters
    ----------
    chain : Chain
    runs : Runs
        Of the model.
    may_stop : bool
        Whether a run may end once the block is reached.
    """
    calls: list[_Call] = []

    def hook(_: Any, args: Any, kwargs: Any) -> None:
        calls.append(_Call(tuple(args), dict(kwargs), runs.counts()))
        if may_stop:
            raise Enough

    handle = chain.blocks[0].register_forward_pre_hook(hook, with_kwargs=True)
    try:
        for call in runs.calls():
            run(call)
    finally:
        handle.remove()
    return Block(chain.blocks[0], calls, chain.place)


def run(call: Call) -> Any:
    """Run to the end, or to where nothing more is needed."""
    try:
        return call()
    except Enough:
        return None


def _candidates(model: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Lists of two or more modules of one class, the outermost alone."""
    found: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len(module) < 2:
            continue
        alike = len({type(each) for each in module}) == 1
        if alike and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
            yield name, tuple(module)


def _watch(seen: dict[int, list[Any]]) -> Callable[..., None]:
    def hook(module: Any, args: Any, kwargs: Any, returned: Any) -> None:
        seen.setdefault(id(module), []).append((args, kwargs, output_of(returned)))

    return hook


def _place(calls: Sequence[Sequence[tuple[Any, Any, Any]]]) -> int | str | None:
    """Where the blocks hand on what they return; None if they don't."""
    places: set[int | str] = set()
    for ((before_args, before_kwargs, returned),), ((args, kwargs, _),) in pairwise(calls):
        named: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        here = {place for place, value in named if value is returned}
        if len(here) != 1 or len(args) != len(before_args) or kwargs.keys() != before_kwargs.keys():
            return None
        places |= here
        others = [(place, value) for place, value in named if place not in here]
        before = dict([*enumerate(before_args), *before_kwargs.items()])
        if not all(_same(value, before[place]) for place, value in others):
            return None
    return places.pop() if len(places) == 1 else None


def _same(value: Any, other: Any) -> bool:
    """Whether two arguments are plain and equal."""
    if isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor):
        return value is other or (value.shape == other.shape and bool(torch.equal(value, other)))
    if isinstance(value, tuple | list) and type(value) is type(other):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_same(value[k], other[k]) for k in value)
    if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device):
        return bool(value == other)
    return False


def _repeats(block: Any, call: tuple[Any, Any, Any]) -> bool:
    args, kwargs, returned = call
    again = output_of(block(*args, **kwargs))
    if not isinstance(again, torch.Tensor) or again.shape != returned.shape:
        return False
    return bool(torch.allclose(again, returned, rtol=1e-4, atol=1e-5))
