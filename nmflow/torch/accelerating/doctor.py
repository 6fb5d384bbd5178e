"""What masks buy on this machine: measured layer by layer, never promised."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from nmflow.cuda import launch
from nmflow.solve import solve
from nmflow.torch.accelerating.sparse_linear import SparseLinear
from nmflow.torch.accelerating.support import why_not_device

SHAPES = ((4096, 4096), (14336, 4096), (4096, 14336))
"""Linear layers (out, in) of a language model of 8 billion parameters."""
TOKENS = 4096
_ROUNDS = 10


def examine_devices(shapes: Iterable[tuple[int, int]] = SHAPES) -> Iterator[str]:
    """Lines about each device: what it can do, and what a 2:4 layer takes beside a dense one.

    Parameters
    ----------
    shapes : iterable of (out, in)
        Layers that are timed, in bfloat16, forwards and backwards.

    Yields
    ------
    str
    """
    yield f"PyTorch {torch.__version__}"
    extra = "installed" if launch.available() else "not installed: pip install 'nmflow[cuda]'"
    yield f"nmflow[cuda], which solves masks by CUDA kernels: {extra}"
    yield "4:8, 8:16 and 16:32 have no native kernel on any device: their layers run dense."
    devices = [torch.device("cuda", k) for k in range(torch.cuda.device_count())]
    if not devices:
        yield "No CUDA device: 2:4 layers run dense here, and there is nothing to measure."
    for device in devices:
        yield f"{device}: {torch.cuda.get_device_name(device)}"
        if reason := why_not_device(device):
            yield f"  2:4 layers run dense: {reason}"
            continue
        for shape in shapes:
            yield f"  2:4, {shape[0]} x {shape[1]}, {TOKENS} tokens: {compare(shape, device)}"


def compare(shape: tuple[int, int], device: Any) -> str:
    """What a 2:4 layer (out, in) takes on a device, dense and sparse, forwards and backwards."""
    out, into = shape
    dense = torch.nn.Linear(into, out, bias=False, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        dense.weight *= solve(dense.weight, 2, 4)
    inputs = torch.randn(TOKENS, into, device=device, dtype=torch.bfloat16, requires_grad=True)
    try:
        sparse = SparseLinear(dense)
        times = [_seconds(layer, inputs) for layer in (dense, sparse)]
    except RuntimeError as error:
        return f"PyTorch can't multiply it: {str(error).splitlines()[0]}"
    (a, b), (c, d) = times
    return (
        f"forward {a * 1e3:.3f} ms dense, {c * 1e3:.3f} sparse ({a / c:.2f} x);"
        f" with backward {b * 1e3:.3f}, {d * 1e3:.3f} ({b / d:.2f} x)"
    )


def _seconds(layer: Any, inputs: Any) -> tuple[float, float]:
    """Of a forward pass, and of one with its backward pass."""

    def backward() -> None:
        layer(inputs).sum().backward()

    return median_seconds(lambda: layer(inputs)), median_seconds(backward)


def median_seconds(call: Callable[[], Any]) -> float:
    """Of a call on the current CUDA device."""
    return statistics.median(device_seconds(call, _ROUNDS))


def device_seconds(
    call: Callable[[], Any], rounds: int, before: Callable[[], Any] = lambda: None
) -> list[float]:
    """What calls take on the current CUDA device, by its clock; the first two are left out.

    What comes before each of them is not counted.
    """
    taken: list[float] = []
    for _ in range(rounds + 2):
        before()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end) / 1e3)
    return taken[2:]
