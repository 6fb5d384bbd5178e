"""Compiling kernels: one place for numba's options and for where its cache goes wrong."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.extending import register_jitable

# Functions that only kernels call need none of the two wrappers that numba would compile for each,
# which would make the first call of a kernel later.
helper = register_jitable(no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of a function that kernels call."""
inlined = register_jitable(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)
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
    try:
        kernel: Any = numba.njit(cache=True, nogil=True, _nrt=nrt)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        kernel = numba.njit(nogil=True, _nrt=nrt)(function)
    # numba calls cached code stale when the kernel's own file changes. A kernel is as old as the
    # newest of the files it is made of, so stamp it with all of them.
    index = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    if index is not None:
        index._source_stamp = (index._source_stamp, _sources_digest())
        index._load_index = functools.partial(_load_index, index._load_index)
    return kernel  # type: ignore[no-any-return]


def _load_index(load: Callable[[], Any]) -> Any:
    """Numba's list of what is cached; empty where it names classes that are no longer there."""
    try:
        return load()
    except (AttributeError, ImportError, TypeError):
        return {}


@functools.cache
def _sources_digest() -> str:
    """A digest of all sources that kernels are made of."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(
        [package / "networks.py", *package.glob("simd/*.py"), *package.glob("*s/*.py")]
    ):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
