"""What masks cost and buy where they are used: layers, training steps, whole models."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

import nmflow.torch
from benchmarks.gpu.clock import seconds

# Llama 3, 8 billion parameters: (out, in) of each linear layer of a block.
LLAMA = {
    "q_proj, o_proj": (4096, 4096),
    "k_proj, v_proj": (1024, 4096),
    "gate_proj, up_proj": (14336, 4096),
    "down_proj": (4096, 14336),
}
TOKENS = 8192
PATTERNS = ((2, 4), (4, 8), (8, 16))
ROUNDS = 10


def layers(device: str, quick: bool) -> dict[str, Any]:
    """Forward and backward of a linear layer, dense and sparse at 2:4, in bfloat16."""
    found = {}
    for name, shape in LLAMA.items():
        out, into = (side // 16 for side in shape) if quick else shape
        dense = nn.Linear(into, out, bias=False, device=device, dtype=torch.bfloat16)
        with torch.no_grad():
            dense.weight *= nmflow.solve(dense.weight, 2, 4)
        sparse = nmflow.torch.SparseLinear(dense)
        inputs = torch.randn(
            64 if quick else TOKENS, into, device=device, dtype=torch.bfloat16, requires_grad=True
        )
        found[f"{name} {out} x {into}"] = {
            kind: seconds(device, partial(_both_ways, layer, inputs), ROUNDS)
            for kind, layer in (("dense", dense), ("sparse", sparse))
        }
    return found


def _both_ways(layer: nn.Module, inputs: Any) -> None:
    layer(inputs).sum().backward()


class Block(nn.Module):
    """A transformer's block of Llama's shapes."""

    def __init__(self, width: int, hidden: int, heads: int, **options: Any) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.RMSNorm(width, **options) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width, bias=False, **options)
        self.out = nn.Linear(width, width, bias=False, **options)
        self.gate = nn.Linear(width, hidden, bias=False, **options)
        self.up = nn.Linear(width, hidden, bias=False, **options)
        self.down = nn.Linear(hidden, width, bias=False, **options)

    def forward(self, x: Any) -> Any:
        """(batch, tokens, width) to the same."""
        batch, tokens, width = x.shape
        parts = self.qkv(self.norms[0](x)).reshape(batch, tokens, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, tokens, width))
        inner = self.norms[1](x)
        return x + self.down(nn.functional.silu(self.gate(inner)) * self.up(inner))


def language_model(quick: bool, device: str) -> nn.Sequential:
    """Blocks of 1.07 billion parameters."""
    width, hidden, heads, depth = (64, 128, 2, 1) if quick else (2048, 8192, 16, 16)
    options = {"device": device, "dtype": torch.bfloat16}
    return nn.Sequential(*(Block(width, hidden, heads, **options) for _ in range(depth)))


def training(device: str, quick: bool) -> dict[str, Any]:
    """A step of two blocks with AdamW: dense, under masks that stay, and found at each step."""
    found = {"dense": _step(device, quick, None)}
    for n, m in PATTERNS:
        for every in (None, 1):
            kind = "fixed" if every is None else "every step"
            found[f"{n}:{m} {kind}"] = _step(device, quick, (n, m, every))
    return found


def _step(device: str, quick: bool, masks: tuple[int, int, int | None] | None) -> dict[str, float]:
    torch.manual_seed(0)
    model = language_model(quick, device)[:2]
    handle = None
    if masks is not None:
        n, m, every = masks
        handle = nmflow.torch.sparsify(model, n, m, refresh=every)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    width = model[0].out.in_features
    inputs = torch.randn(2, 16 if quick else 2048, width, device=device, dtype=torch.bfloat16)

    def step() -> None:
        optimizer.zero_grad()
        model(inputs).float().square().mean().backward()
        optimizer.step()
        if handle is not None:
            handle.step()

    return seconds(device, step, ROUNDS)


def refresh(device: str, quick: bool) -> dict[str, Any]:
    """All masks of a model of a billion parameters found anew, after each weight moved a little."""
    model = language_model(quick, device)
    weights = list(model.parameters())
    found: dict[str, Any] = {"parameters": sum(weight.numel() for weight in weights)}

    def move() -> None:
        with torch.no_grad():
            for weight in weights:
                weight.add_(torch.randn_like(weight), alpha=1e-3 * float(weight.std()))

    for n, m in PATTERNS:
        handle = nmflow.torch.sparsify(model, n, m, refresh=1)
        found[f"{n}:{m}"] = seconds(device, handle.refresh, ROUNDS, before=move)
        handle.remove()
    return found
