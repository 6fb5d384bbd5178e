"""Compiling kernels: one place for numba's options and for where its cache may fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compile_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock, cached on disk where the disk allows it.

    Where numba finds no directory to write to (a read-only installation and home), the kernel is
    compiled anew in each process instead of failing.
    """
    try:
        kernel: Callable[..., Any] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        kernel = numba.njit(nogil=True)(function)
    return kernel
