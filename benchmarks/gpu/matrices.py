"""One matrix solved on a GPU in every way there is, beside the floor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

import nmflow
from benchmarks.gpu.clock import seconds
from benchmarks.gpu.tsenor import tsenor
from nmflow.device import kernels, solve
from nmflow.problem.pattern import Pattern

SIDES = (1024, 2048, 4096, 8192, 16384)
PATTERNS = ((2, 4), (1, 4), (4, 8), (2, 8), (8, 16), (16, 32))
DTYPES = ("float32", "bfloat16", "float16")
# What is slower: matrices up to this side, and fewer rounds.
SLOW_SIDE, SLOW_ROUNDS = 4096, 3


def cases(quick: bool) -> Iterator[tuple[str, tuple[int, int, str, int]]]:
    """Each matrix: n, m, dtype, side; by name."""
    every = itertools.product(PATTERNS, DTYPES[:1] if quick else DTYPES, (64,) if quick else SIDES)
    for (n, m), dtype, side in every:
        yield f"{n}:{m} {dtype} {side}", (n, m, dtype, side)


def measure(device: str, n: int, m: int, dtype: str, side: int) -> dict[str, Any]:
    """All that there is for one matrix.

    Raises
    ------
    RuntimeError
        If the kernels don't run, or their mask is not the CPU engine's.
    """
    weights = torch.randn(side, side, device=device).to(getattr(torch, dtype))
    found = {}
    if device.startswith("cuda"):
        found["kernels"] = _kernels(device, weights, Pattern(n, m))
    # A copy reads and writes: half its bytes are read.
    share = (weights.element_size() + 1) / (2 * weights.element_size())
    copy = seconds(device, weights.clone)
    found["floor"] = {name: value * share for name, value in copy.items()}
    if side <= SLOW_SIDE:
        found |= _slower(device, weights, n, m)
    if (n, m) == (2, 4):
        masks = all_masks(device)
        found["product with 90 masks"] = seconds(device, lambda: product_of_masks(weights, masks))
        if device.startswith("cuda") and dtype != "float32":
            tile = torch._sparse_semi_structured_tile
            found["torch's tile sparsifier"] = seconds(device, lambda: tile(weights))
    return found


def _kernels(device: str, weights: Any, pattern: Pattern) -> dict[str, float]:
    if kernels.solve_by_kernels(weights[None], pattern, "abs") is None:
        raise RuntimeError("the kernels don't run here: pip install 'nmflow[cuda]'")
    return seconds(device, lambda: kernels.solve_by_kernels(weights[None], pattern, "abs"))


def _slower(device: str, weights: Any, n: int, m: int) -> dict[str, Any]:
    """The same mask by tensor operations and by the host, and TSENOR's."""
    expected = nmflow.solve(weights.cpu(), n, m)
    for mask in (nmflow.solve(weights, n, m), portable(weights, n, m)):
        if not torch.equal(mask.cpu(), expected):
            raise RuntimeError(f"{n}:{m} {weights.dtype}: the mask is not the CPU engine's")
    calls = {
        "tensor operations": lambda: portable(weights, n, m),
        "through the host": lambda: nmflow.solve(weights.cpu(), n, m).to(device),
        "TSENOR": lambda: tsenor(weights, n, m),
    }
    return {name: seconds(device, call, SLOW_ROUNDS) for name, call in calls.items()}


def portable(weights: Any, n: int, m: int) -> Any:
    """The mask by tensor operations, even where there are kernels."""
    kept = solve.solve_by_kernels
    solve.solve_by_kernels = lambda *_: None  # type: ignore[assignment]
    try:
        return solve.solve(weights, n, m)
    finally:
        solve.solve_by_kernels = kept


def product_of_masks(weights: Any, masks: Any) -> Any:
    """The best of the 90 masks of each 4 x 4 tile, in float32: exact but for rounding."""
    r, c = weights.shape
    tiles = weights.abs().float().reshape(r // 4, 4, c // 4, 4).permute(0, 2, 1, 3).reshape(-1, 16)
    return masks[(tiles @ masks.float().T).argmax(1)]


def all_masks(device: str) -> Any:
    """The 90 masks of 2:4, (90, 16) bool."""
    rows = [[j in pair for j in range(4)] for pair in itertools.combinations(range(4), 2)]
    every = torch.tensor(list(itertools.product(rows, repeat=4)))
    return every[(every.sum(1) == 2).all(1)].reshape(-1, 16).to(device)
