"""What sparse tensor cores can do: for which devices, dtypes, shapes and masks."""

from __future__ import annotations

from typing import Any

import torch

from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.torch.masking.counting import fault

NATIVE = Pattern(2, 4)
"""The one pattern that hardware multiplies by: 4:8, 8:16 and 16:32 have no native kernel."""
LEAST_CAPABILITY = (8, 0)
_DTYPES = (torch.float16, torch.bfloat16)
# What PyTorch's compressed formats take on either axis, for 16-bit numbers.
MULTIPLE = 64


def why_not_device(device: Any) -> str | None:
    """Why products on a device can't be sparse; None if they can."""
    if device.type != "cuda":
        return f"no sparse tensor cores on device {device.type}"
    if torch.version.hip is not None:
        return "PyTorch's semi-structured products are for CUDA, this is ROCm"
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        return f"compute capability {capability[0]}.{capability[1]} has no sparse tensor cores"
    return None


def why_not_weight(weight: Any) -> str | None:
    """Why a weight (out, in) can't be compressed both ways, wherever it lies; None if it can."""
    if weight.dtype not in _DTYPES:
        return f"dtype {str(weight.dtype).removeprefix('torch.')}: float16 or bfloat16 is needed"
    if any(side % MULTIPLE for side in weight.shape):
        return f"shape {tuple(weight.shape)}: multiples of {MULTIPLE} are needed"
    if problem := fault(weight != 0, Layout(), NATIVE, full=False):
        return f"its zeros are not 2:4 in both directions: {problem}"
    return None
