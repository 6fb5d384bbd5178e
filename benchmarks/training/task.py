"""What a task is to the training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

# Held out: ``tune`` chooses settings and is given back to training for the runs that count.
Held = Literal["tune", "test"]


class Data(Protocol):
    """One split of a task's data."""

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on what is held out, the task's metric among them."""
        ...

    def describe(self) -> dict[str, object]:
        """Sizes and digest, for the record."""
        ...


class Setting(NamedTuple):
    """What the sweep over the dense baseline chooses, the same for all runs then.

    Attributes
    ----------
    rate : float
        The highest learning rate: linear up to it, half a cosine down to nothing.
    decay : float
        Weight decay of matrices and kernels; nothing else decays.
    steps : int
    """

    rate: float
    decay: float
    steps: int


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes
    ----------
    name, title : str
    metric, unit : str
        The figure that runs are compared by.
    higher : bool
        Whether more of it is better.
    dense : tuple of str
        Modules that stay dense: first and last layers, embeddings.
    setting : Setting
        The sweep's choice.
    sweep : tuple of Setting
    seeds, dense_seeds, sweep_seeds : int
        How many each run has, the dense run, and each setting of the sweep.
    new_model : callable
        The model on its first day; draws from PyTorch's global generator.
    load : callable
        The data with this held out.
    optimizer : callable
        From groups of parameters, the rate.
    """

    name: str
    title: str
    metric: str
    unit: str
    higher: bool
    dense: tuple[str, ...]
    setting: Setting
    sweep: tuple[Setting, ...]
    seeds: int
    dense_seeds: int
    sweep_seeds: int
    new_model: Callable[[], nn.Module]
    load: Callable[[Held], Data]
    optimizer: Callable[[list[dict[str, object]], float], torch.optim.Optimizer]
