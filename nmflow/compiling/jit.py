"""Compiling kernels: one place for numba's options."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
from numba.extending import register_jitable

from nmflow.compiling.cache import KernelCache
from nmflow.compiling.helpers import HelperCompiler, KernelCompiler, UnaliasedCompiler

# Functions that only kernels call need none of the two wrappers that numba would compile for each.
HELPER_OPTIONS = {
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": HelperCompiler,
}
"""numba's options for them."""
helper = register_jitable(**HELPER_OPTIONS)
"""Decorator of a function that kernels call."""
unaliased = register_jitable(**HELPER_OPTIONS | {"pipeline_class": UnaliasedCompiler})
"""Decorator of a helper whose arrays share no memory that it writes.

LLVM makes vectors of its loops without looking first whether they do, which for short ones takes
longer than the loop, and for many arrays is not done at all.
"""
inlined = register_jitable(**HELPER_OPTIONS, forceinline=True)
"""Decorator of a function that becomes part of each kernel that calls it."""


def compile_kernel(
    function: Callable[..., Any] | None = None, *, nrt: bool = True
) -> Callable[..., Any]:
    """Compile without the interpreter's lock, cached on disk where the disk allows it.

    Where numba finds no directory to write to (a read-only installation and home), the kernel is
    compiled anew in each process instead of failing. Without numba's runtime (``nrt=False``) a
    kernel can't make arrays, and passes them to functions without counting references.
    """
    if function is None:
        return functools.partial(compile_kernel, nrt=nrt)
    kernel: Any = numba.njit(
        nogil=True, _nrt=nrt, no_cfunc_wrapper=True, pipeline_class=KernelCompiler
    )(function)
    if not numba.config.DISABLE_JIT:
        try:
            kernel._cache = KernelCache(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
    return kernel  # type: ignore[no-any-return]
