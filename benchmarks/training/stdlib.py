"""Language: bytes of the Python standard library's own source, by a small transformer."""

from __future__ import annotations

import hashlib
import math
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.training.task import Held, Setting, Task

BATCH = 4
CONTEXT = 128
ROTARY_BASE = 1000.0
# Training bytes, the same number whatever the library's size. A run reads some of them once.
TRAIN_BYTES = 6_000_000
HELD_BYTES = 64 * 1024
# Tests, what is installed beside, written by the build, or is tables and not code.
SKIPPED = {
    *("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"),
    *("encodings", "pydoc_data", "lib2to3", "turtledemo", "ensurepip"),
}
# Of every ten files in the order of their names, one is the test and one for tuning.
TEST_FILE, TUNE_FILE = 4, 9


class Stdlib:
    """The library's bytes.

    Parameters
    ----------
    held : {"tune", "test"}
        Which files are held out; no training reads the test's.
    """

    def __init__(self, held: Held) -> None:
        train, tune, test = _parts()
        if held == "test":
            # Tuned: its files are for training too.
            train = np.concatenate([tune, train])
        self.train = torch.from_numpy(train[:TRAIN_BYTES])
        kept = torch.from_numpy(tune if held == "tune" else test)
        if len(self.train) < TRAIN_BYTES or len(kept) < 2 * HELD_BYTES:
            raise RuntimeError(
                f"the standard library has {len(self.train)} bytes to train on and {len(kept)}"
                f" held out: need {TRAIN_BYTES} and {2 * HELD_BYTES}"
            )
        # Pieces from all files that are held out, evenly.
        starts = torch.linspace(0, len(kept) - CONTEXT - 1, HELD_BYTES // CONTEXT).long()
        self.held = kept[starts[:, None] + torch.arange(CONTEXT + 1)]

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pieces from anywhere, and the same one byte on."""
        starts = torch.randint(len(self.train) - CONTEXT, (BATCH, 1), generator=generator)
        pieces = self.train[starts + torch.arange(CONTEXT + 1)].long()
        return pieces[:, :-1], pieces[:, 1:]

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Bits per byte held out, in pieces, each read from its first byte on."""
        inputs, targets = self.held[:, :-1].long(), self.held[:, 1:].long()
        model.eval()
        losses = [
            functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
            for x, y in zip(inputs.split(64), targets.split(64), strict=True)
        ]
        model.train()
        return {"bits_per_byte": math.fsum(losses) / targets.numel() / math.log(2)}

    def describe(self) -> dict[str, object]:
        """Sizes and digest."""
        digest = hashlib.sha256(self.train.numpy().tobytes() + self.held.numpy().tobytes())
        return {
            "training_bytes": len(self.train),
            "held_out_bytes": HELD_BYTES,
            "sha256": digest.hexdigest(),
        }


class Layer(nn.Module):
    """Attention and a two-layer network, each after a norm and with a way round it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.projections = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.before_network = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape (pieces, places, width)."""
        pieces, places, width = x.shape
        joint = self.projections(self.before_attention(x))
        queries, keys, values = joint.view(pieces, places, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys = rotated(queries), rotated(keys)
        seen = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.output(seen.transpose(1, 2).reshape(pieces, places, width))
        return x + self.down(functional.gelu(self.up(self.before_network(x))))


def rotated(x: Tensor) -> Tensor:
    """Queries or keys turned by their places, so that attention sees distances."""
    places, size = x.shape[-2:]
    rates = ROTARY_BASE ** (-torch.arange(size // 2, device=x.device) / (size // 2))
    angles = torch.arange(places, device=x.device)[:, None] * rates
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x.chunk(2, -1)
    return torch.cat((left * cosine - right * sine, left * sine + right * cosine), -1)


class Transformer(nn.Module):
    """A byte-level transformer that predicts the next byte."""

    def __init__(self, width: int = 128, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.bytes = nn.Embedding(256, width)
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 256, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # GPT-2's: what adds to the sum of all layers starts smaller.
                small = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if small else 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the next byte at each place."""
        return self.head(self.norm(self.layers(self.bytes(x))))


def new_optimizer(groups: list[dict[str, object]], rate: float) -> torch.optim.Optimizer:
    """AdamW, as is usual for transformers."""
    return torch.optim.AdamW(groups, rate, betas=(0.9, 0.95))


def files() -> list[Path]:
    """The library's own modules, in the order of their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    names = (path.relative_to(root) for path in root.rglob("*.py"))
    kept = [n for n in names if not SKIPPED & set(n.parts) and not n.name.startswith("_sysconfig")]
    return [root / name for name in sorted(kept)]


@cache
def _parts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes for training, for tuning and for the test."""
    found = files()
    parts = {TEST_FILE: bytearray(), TUNE_FILE: bytearray()}
    train = bytearray()
    for k, path in enumerate(found):
        parts.get(k % 10, train).extend(path.read_bytes())
    tune, test = parts[TUNE_FILE], parts[TEST_FILE]
    return tuple(np.frombuffer(bytes(part), np.uint8).copy() for part in (train, tune, test))


TASK = Task(
    name="stdlib",
    title="the standard library's source, transformer",
    metric="bits_per_byte",
    unit="bits per byte held out",
    higher=False,
    dense=("bytes", "head"),
    setting=Setting(3e-3, 0.1, 800),
    sweep=(
        *(Setting(rate, 0.1, 800) for rate in (1.5e-3, 3e-3, 6e-3)),
        Setting(3e-3, 0.5, 800),
    ),
    seeds=3,
    dense_seeds=5,
    sweep_seeds=1,
    new_model=Transformer,
    load=Stdlib,
    optimizer=new_optimizer,
)
