"""What runs each layer of a model natively, and what that buys here: measured, or not told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nmflow import hardware
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.torch.accelerating.doctor import compare
from nmflow.torch.accelerating.support import MULTIPLE, why_not_device
from nmflow.torch.masking.counting import most_kept

NOT_MEASURED = "not measured: no CUDA device here"
# Lengths of the groups that hardware counts in.
_GROUPS = (2, 4)
# In which dtypes of the hardware table weights are multiplied.
_MULTIPLIED_IN = {torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float32: "tf32"}


@dataclass(frozen=True, slots=True)
class ExaminedLayer:
    """One layer: what multiplies by it as it is, and what 2:4 of its shape takes here.

    Attributes
    ----------
    name, dtype : str
    shape : tuple of int
        (out, in).
    forward, backward : tuple of str
        Hardware that multiplies natively by the weight, and by its transpose, with the zeros that
        it has; see :mod:`nmflow.hardware`.
    measured : mapping of str to str
        For each CUDA device what a product by a 2:4 weight of this shape took, dense and sparse, or
        why it was not timed; empty where there is no device.
    """

    name: str
    shape: tuple[int, int]
    dtype: str
    forward: tuple[str, ...]
    backward: tuple[str, ...]
    measured: Mapping[str, str]

    def __str__(self) -> str:
        out, into = self.shape
        same = self.forward == self.backward
        ways = {"both ways" if same else "forward": self.forward}
        ways |= {} if same else {"backward": self.backward}
        native = (f"{way} by {', '.join(by) or 'nothing'}" for way, by in ways.items())
        times = [f"at 2:4 on {device}: {told}" for device, told in self.measured.items()]
        head = f"{self.name} ({out} x {into}, {self.dtype}): natively {'; '.join(native)}"
        return "; ".join([head, *(times or [NOT_MEASURED])])


class Timings:
    """What 2:4 layers take on the CUDA devices here; each shape is timed once."""

    def __init__(self) -> None:
        self._devices = [torch.device("cuda", k) for k in range(torch.cuda.device_count())]
        self._known: dict[tuple[int, int], dict[str, str]] = {}

    def of(self, shape: tuple[int, int]) -> dict[str, str]:
        """What was measured of a layer (out, in), by device."""
        if shape not in self._known:
            self._known[shape] = {str(each): self._time(shape, each) for each in self._devices}
        return self._known[shape]

    @staticmethod
    def _time(shape: tuple[int, int], device: Any) -> str:
        if any(side % MULTIPLE for side in shape):
            return f"not measured: both sides need to be multiples of {MULTIPLE}"
        reason = why_not_device(device)
        return f"not measured: {reason}" if reason else compare(shape, device)


def examine(model: torch.nn.Module) -> tuple[ExaminedLayer, ...]:
    """Say of each linear layer what runs it natively, and measure what 2:4 buys on this machine.

    Parameters
    ----------
    model : Module
        Not changed. Of layers under masks it is the masked weight that is looked at.

    Returns
    -------
    tuple of ExaminedLayer
        One for each linear layer; prints as a line each. Nothing is measured without a CUDA device
        and nothing is extrapolated: each shape is timed on each device that multiplies by 2:4
        weights, in bfloat16.

    Examples
    --------
    >>> import torch, nmflow.torch
    >>> print(nmflow.torch.examine(torch.nn.Sequential(torch.nn.Linear(64, 64)))[0].forward)
    ()
    """
    timings = Timings()
    return tuple(_examined(name, module, timings) for name, module in _linear(model))


def _linear(model: torch.nn.Module) -> Iterable[tuple[str, torch.nn.Linear]]:
    return (pair for pair in model.named_modules() if isinstance(pair[1], torch.nn.Linear))


def _examined(name: str, module: Any, timings: Timings) -> ExaminedLayer:
    weight = module.weight.detach()
    shape = (module.out_features, module.in_features)
    dtype = str(weight.dtype).removeprefix("torch.")
    ways = (_native(weight, "rows"), _native(weight, "columns"))
    return ExaminedLayer(name, shape, dtype, *ways, timings.of(shape))


def _native(weight: Any, along: PatternName) -> tuple[str, ...]:
    """The hardware that multiplies by a weight (out, in) whose zeros lie so along one side."""
    known = _MULTIPLIED_IN.get(weight.dtype)
    if known is None or weight.is_meta:
        return ()
    most = {m: most_kept(weight != 0, Layout(), Pattern(1, m, along)) for m in _GROUPS}
    ratios = [(max(n, 1), m) for m, n in most.items() if n < m]
    rows = (row for ratio in ratios for row in hardware.native(*ratio, dtype=known))
    return tuple(dict.fromkeys(f"{row.vendor} {row.generation}" for row in rows))
