"""Selecting what a mask keeps in one pass over the memory, where PyTorch takes two."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import carray, config

from nmflow.compiling.jit import compile_kernel
from nmflow.compiling.pointers import pointer_to


@compile_kernel
def _write_kept(source: int, mask: int, target: int, size: int, like: Any) -> None:
    # Addresses, since a tensor's array costs as much as a small weight's pass.
    read = carray(pointer_to(source, like), (size,))
    keeps = carray(pointer_to(mask, np.int8(0)), (size,))
    written = carray(pointer_to(target, like), (size,))
    for at in range(size):
        written[at] = read[at] * keeps[at]


@compile_kernel
def _clear_pruned(source: int, mask: int, size: int, like: Any) -> None:
    values = carray(pointer_to(source, like), (size,))
    keeps = carray(pointer_to(mask, np.int8(0)), (size,))
    for at in range(size):
        values[at] *= keeps[at]


KERNELS = {
    like.itemsize: (partial(_write_kept, like=like), partial(_clear_pruned, like=like))
    for like in (np.int16(0), np.int32(0), np.int64(0))
    # The interpreter has no pointers.
    if not config.DISABLE_JIT
}
"""By the width of entries in bytes: source, mask, target and size -> None, and in place."""
