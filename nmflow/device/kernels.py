"""Tensors of a CUDA device -> the kernels of :mod:`nmflow.cuda`, on PyTorch's current stream."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from nmflow.cuda import launch
from nmflow.cuda.problem import COUNTERS, LARGEST_TILES, scratch_size, tile_count
from nmflow.cuda.source import FORMATS, LARGEST_M, SMALLEST_M
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern

_NAMES = {getattr(torch, name): name for name in FORMATS}


def on_cuda(tensor: Any) -> bool:
    """Whether a tensor lies on a device of NVIDIA's for which the extra is installed."""
    return tensor.device.type == "cuda" and torch.version.hip is None and launch.available()


def solve_by_kernels(matrices: Any, pattern: Pattern, score: str) -> tuple[Any, Any] | None:
    """The mask of matrices (B, R, C), and the kernels' counters; None where they can't solve it.

    Nothing waits for the device. The mask is written when the current stream gets there; where the
    counter ``NOT_FINITE`` is not 0 then, masks of tiles with NaN or infinity were not written.

    Warns
    -----
    RuntimeWarning
        If kernels can't be compiled or loaded; tensor operations solve it then.
    """
    n, m = pattern.n, pattern.m
    name, size = _NAMES.get(matrices.dtype), matrices.element_size()
    kinds = name is not None and score in ("abs", "raw") and n < m
    if not kinds or not SMALLEST_M <= m <= LARGEST_M or not matrices.numel():
        return None
    shape = tuple(matrices.shape)
    if not on_cuda(matrices) or tile_count(shape, m) > LARGEST_TILES // 2:
        return None
    device = matrices.device
    try:
        found = launch.kernels(n, m, str(name), score == "raw", device.index)
    except NmflowError as error:
        warnings.warn(f"{error}: masks by tensor operations instead", RuntimeWarning, stacklevel=2)
        return None
    mask = torch.empty(shape, dtype=torch.bool, device=device)
    scratch = torch.empty(scratch_size(shape, m), dtype=torch.int32, device=device)
    scratch[:COUNTERS].zero_()
    pointers = matrices.data_ptr(), mask.data_ptr(), scratch.data_ptr()
    stream = current_stream(device)
    launch.launch(found, stream, pointers, matrices.stride(), shape, m, size)
    return mask, scratch[:COUNTERS]


def current_stream(device: Any) -> int:
    """The address of PyTorch's current stream."""
    stream: int = torch.cuda.current_stream(device).cuda_stream
    return stream
