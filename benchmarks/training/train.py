"""The loop that every run of every task goes through."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.training.masks import Masks
from benchmarks.training.runs import Run
from benchmarks.training.task import Held, Setting, Task

# Share of the steps on which the learning rate still rises.
WARM_UP = 0.05
# Points of a curve that are kept.
POINTS = 40
MOST_NORM = 1.0


def train(
    task: Task,
    run: Run,
    seed: int,
    *,
    setting: Setting | None = None,
    held: Held = "test",
    start: Path | None = None,
    keep: Path | None = None,
) -> dict[str, Any]:
    """Train once from a seed and say what happened.

    Parameters
    ----------
    task, run, seed
    setting : Setting, optional
        Another than the task's.
    held : {"tune", "test"}
    start : path, optional
        Weights to start from rather than from nothing.
    keep : path, optional
        Where the last weights are written.

    Returns
    -------
    dict
        The record: figures on what was held out, curves, and what the masks did and cost.
    """
    setting = setting or task.setting
    data = task.load(held)
    torch.manual_seed(seed)
    model = task.new_model()
    if start is not None:
        model.load_state_dict(torch.load(start, weights_only=True))
    generator = torch.Generator().manual_seed(seed)
    begin = time.perf_counter()
    masks = Masks(model, run, task.dense, setting.steps)
    optimizer = task.optimizer(groups(model, setting.decay), setting.rate)
    losses = list(steps(model, optimizer, setting, masks, lambda: data.batch(generator)))
    if not all(map(math.isfinite, losses)):
        raise FloatingPointError(f"{task.name}, {run.name}, seed {seed}: a loss is not finite")
    elapsed = time.perf_counter() - begin - masks.certify_seconds
    record = {
        **{"task": task.name, "run": run.name, "seed": seed, "held": held},
        "setting": setting._asdict(),
        "data": data.describe(),
        "final": data.evaluate(model),
        "losses": means(losses),
        "seconds": elapsed,
        "seconds_per_step": elapsed / setting.steps,
        "masks": masks.record(elapsed),
    }
    if keep is not None:
        torch.save(model.state_dict(), keep)
    return record


def steps(
    model: nn.Module, optimizer: torch.optim.Optimizer, setting: Setting, masks: Masks, batch: Any
) -> Iterator[float]:
    """One loss a step."""
    for step in range(setting.steps):
        for group in optimizer.param_groups:
            group["lr"] = setting.rate * schedule(step, setting.steps)
        loss = loss_of(model, batch())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MOST_NORM)
        optimizer.step()
        masks.step()
        yield loss.item()


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy in nats, whatever the shape of the targets."""
    inputs, targets = batch
    return functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())


def schedule(step: int, steps: int) -> float:
    """The share of the highest learning rate: up in a line, down in half a cosine."""
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Matrices and kernels, which decay, and all else, which does not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def means(values: list[float]) -> list[float]:
    """A curve of few points, each the mean of as many values."""
    count = min(POINTS, len(values))
    cuts = [round(k * len(values) / count) for k in range(count + 1)]
    pieces = (values[a:b] for a, b in pairwise(cuts))
    return [float(f"{sum(piece) / len(piece):.5g}") for piece in pieces]
