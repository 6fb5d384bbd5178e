"""Masks on a GPU, measured: ``python -m benchmarks.gpu``.

Needs a CUDA device and ``nmflow[cuda]``. Writes ``gpu.json`` and ``gpu.txt`` to
``benchmarks/results/``: seconds of the kernels, of the same by tensor operations, of the way
through the host, of the product with all 90 masks and of PyTorch's own tile sparsifier (2:4, not
exact), beside the floor, which is reading the weights once and writing the mask once at the speed
of a copy. Until it has run, ``gpu_predicted.txt`` is all there is.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import nmflow
from nmflow.device import kernels, solve
from nmflow.problem.pattern import Pattern
from nmflow.torch.accelerating.doctor import device_seconds

RESULTS = Path(__file__).parents[1] / "results"
SIDES = (1024, 2048, 4096, 8192, 16384)
PATTERNS = ((2, 4), (1, 4), (4, 8), (2, 8), (8, 16), (16, 32))
DTYPES = ("float32", "bfloat16", "float16")
ROUNDS = 20
# Tensor operations and the host are slower: matrices up to this side, and fewer rounds.
SLOW_SIDE, SLOW_ROUNDS = 4096, 3


def seconds(call: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Of the device, by its own clock."""
    kept = device_seconds(call, rounds)
    return {"median": statistics.median(kept), "min": min(kept), "max": max(kept)}


def product_of_masks(weights: Any, masks: Any) -> Any:
    """The best of the 90 masks of each 4 x 4 tile, in float32: exact but for rounding."""
    r, c = weights.shape
    tiles = weights.abs().float().reshape(r // 4, 4, c // 4, 4).permute(0, 2, 1, 3).reshape(-1, 16)
    return masks[(tiles @ masks.float().T).argmax(1)]


def all_masks() -> Any:
    """The 90 masks of 2:4, (90, 16) bool."""
    rows = [[j in pair for j in range(4)] for pair in itertools.combinations(range(4), 2)]
    every = torch.tensor(list(itertools.product(rows, repeat=4)))
    return every[(every.sum(1) == 2).all(1)].reshape(-1, 16).cuda()


def measure(n: int, m: int, dtype: str, side: int) -> dict[str, Any]:
    """All that there is for one matrix."""
    weights = torch.randn(side, side, device="cuda").to(getattr(torch, dtype))
    pattern = Pattern(n, m)
    if kernels.solve_by_kernels(weights[None], pattern, "abs") is None:
        raise RuntimeError("the kernels don't run here: pip install 'nmflow[cuda]'")
    found = {
        "kernels": seconds(lambda: kernels.solve_by_kernels(weights[None], pattern, "abs"), ROUNDS),
        # A copy reads and writes: half its bytes are read.
        "floor": seconds(weights.clone, ROUNDS),
    }
    share = (weights.element_size() + 1) / (2 * weights.element_size())
    found["floor"] = {name: value * share for name, value in found["floor"].items()}
    if side <= SLOW_SIDE:
        host = weights.cpu()
        expected = nmflow.solve(host, n, m)
        if not torch.equal(nmflow.solve(weights, n, m).cpu(), expected):
            raise RuntimeError(f"{n}:{m} {dtype} {side}: the kernels' mask is not the engine's")
        found["through the host"] = seconds(
            lambda: nmflow.solve(weights.cpu(), n, m).cuda(), SLOW_ROUNDS
        )
        found["tensor operations"] = seconds(lambda: _portable(weights, n, m), SLOW_ROUNDS)
    if (n, m) == (2, 4):
        masks = all_masks()
        found["product with 90 masks"] = seconds(lambda: product_of_masks(weights, masks), ROUNDS)
        if dtype != "float32":
            tile = torch._sparse_semi_structured_tile
            found["torch's tile sparsifier"] = seconds(lambda: tile(weights), ROUNDS)
    return found


def _portable(weights: Any, n: int, m: int) -> Any:
    kept = solve.solve_by_kernels
    solve.solve_by_kernels = lambda *_: None  # type: ignore[assignment]
    try:
        return solve.solve(weights, n, m)
    finally:
        solve.solve_by_kernels = kept


def table(report: dict[str, Any]) -> str:
    """A line for each matrix."""
    lines = [f"{report['device']}, PyTorch {report['torch']}; milliseconds, medians"]
    for name, found in report["seconds"].items():
        parts = (f"{what} {value['median'] * 1e3:.3f}" for what, value in found.items())
        share = found["floor"]["median"] / found["kernels"]["median"]
        lines.append(f"{name:28}{', '.join(parts)}; {share:.0%} of a copy's speed")
    return "\n".join(lines)


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit(
            "no CUDA device here: python -m benchmarks.gpu.static_model predicts what this measures"
        )
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "seconds": {},
    }
    for (n, m), dtype, side in itertools.product(PATTERNS, DTYPES, SIDES):
        name = f"{n}:{m} {dtype} {side}"
        report["seconds"][name] = measure(n, m, dtype, side)
        print(name, file=sys.stderr, flush=True)
        # After each, so that an interruption loses little.
        (RESULTS / "gpu.json").write_text(json.dumps(report, indent=1) + "\n")
    text = table(report)
    (RESULTS / "gpu.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
