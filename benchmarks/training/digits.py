"""Vision: scikit-learn's digits, 8 x 8 pixels, by a small residual network."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.training.task import Held, Setting, Task

BATCH = 64
# The images are in the order they were written in, so the last come from other writers.
TRAIN = 1000
TUNE = 250


class Digits:
    """The images; the last 797 are the test.

    Parameters
    ----------
    held : {"tune", "test"}
        With ``tune`` the last 250 of the training images are held out instead.
    """

    def __init__(self, held: Held) -> None:
        images, labels = _all()
        cut, end = (TRAIN - TUNE, TRAIN) if held == "tune" else (TRAIN, len(images))
        self.images, self.labels = images[:cut], labels[:cut]
        self.held_images, self.held_labels = images[cut:end], labels[cut:end]

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images moved by up to one pixel each way, and their labels."""
        chosen = torch.randint(len(self.images), (BATCH,), generator=generator)
        across, down = torch.randint(0, 3, (2, BATCH), generator=generator)
        padded = functional.pad(self.images[chosen], (1, 1, 1, 1))
        eight = torch.arange(8)
        rows = (down[:, None] + eight)[:, None, :, None]
        columns = (across[:, None] + eight)[:, None, None, :]
        moved = padded[torch.arange(BATCH)[:, None, None, None], 0, rows, columns]
        return moved, self.labels[chosen]

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Accuracy and cross-entropy on the images held out."""
        model.eval()
        scores = model(self.held_images)
        model.train()
        right = (scores.argmax(1) == self.held_labels).float().mean()
        return {
            "accuracy": right.item(),
            "cross_entropy": functional.cross_entropy(scores, self.held_labels).item(),
        }

    def describe(self) -> dict[str, object]:
        """Sizes and digest."""
        everything = torch.cat([self.images, self.held_images]).numpy()
        return {
            "training_images": len(self.images),
            "held_out_images": len(self.held_images),
            "sha256": hashlib.sha256(everything.tobytes()).hexdigest(),
        }


class Block(nn.Module):
    """Two convolutions and a way round them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.round: nn.Module = nn.Identity()
        if before != after:
            self.round = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape (images, channels, height, width)."""
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(inner)) + self.round(x))


class Network(nn.Module):
    """A residual network of seven convolutions."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(
            Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 2 * width, 1)
        )
        self.head = nn.Linear(2 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the ten digits."""
        x = self.blocks(functional.relu(self.stem_norm(self.stem(images))))
        return self.head(x.mean((2, 3)))


def new_optimizer(groups: list[dict[str, object]], rate: float) -> torch.optim.Optimizer:
    """Stochastic gradient descent, as is usual for residual networks."""
    return torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True)


@cache
def _all() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    images = (found.images / 8 - 1).astype(np.float32)
    return torch.from_numpy(images)[:, None], torch.from_numpy(found.target).long()


TASK = Task(
    name="digits",
    title="digits, residual network",
    metric="accuracy",
    unit="% of the test images right",
    higher=True,
    dense=("stem", "head"),
    setting=Setting(0.1, 5e-4, 800),
    sweep=(
        *(Setting(rate, 5e-4, 800) for rate in (0.05, 0.1, 0.2)),
        *(Setting(rate, 5e-3, 800) for rate in (0.05, 0.1, 0.2)),
        Setting(0.1, 5e-4, 400),
    ),
    seeds=3,
    dense_seeds=5,
    sweep_seeds=2,
    new_model=Network,
    load=Digits,
    optimizer=new_optimizer,
)
