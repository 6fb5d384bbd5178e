"""What arrays say of where they lie, by DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np

# Types of devices in DLPack's header: of host memory, and those that PyTorch reads.
_HOST = (1, 3)
_NAMES = {2: "CUDA", 8: "Metal", 10: "ROCm", 13: "CUDA", 14: "oneAPI"}


def device_elsewhere(array: Any) -> str:
    """Which device an array says that it lies on; empty for host memory, and where it does not."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack_device__"):
        return ""
    try:
        kind, number = array.__dlpack_device__()
    except (BufferError, RuntimeError, TypeError, ValueError):
        return ""
    if kind in _HOST:
        return ""
    return f"{_NAMES.get(int(kind), f'DLPack type {int(kind)}')} device {number}"
