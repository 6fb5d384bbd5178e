"""Kernels that few calls need are compiled once it pays: until then the interpreter runs them.

A kernel takes seconds to compile and the interpreter milliseconds for a tile, so the few tiles that
a first call leaves for a fallback are solved before its kernel would be there.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import numpy as np
from numba import config

from nmflow.compiling.pointers import is_at_hand

PATIENCE = 1 << 16
"""Entries of tiles that the interpreter may see of each kernel: two seconds."""

_lock = threading.Lock()
_interpreted: Counter[Any] = Counter()
# numba needs longer to tell an array's type than many a kernel takes for a few tiles.
_at_hand: set[tuple[Any, ...]] = set()
_at_once = threading.Event()


def compile_at_once() -> None:
    """From now on nothing is interpreted in this process: what may be needed later is compiled."""
    _at_once.set()


def compiles_at_once() -> bool:
    """Whether :func:`compile_at_once` was called."""
    return _at_once.is_set()


def interprets(kernel: Any, args: tuple[Any, ...], entries: int) -> bool:
    """Whether :func:`run_sparingly` would leave tiles of so many entries to the interpreter."""
    if config.DISABLE_JIT or compiles_at_once():
        return bool(config.DISABLE_JIT)
    if _interpreted[kernel] + entries > PATIENCE:
        return False
    kinds = (kernel, *map(_kind_of, args))
    if kinds not in _at_hand and is_at_hand(kernel, args):
        _at_hand.add(kinds)
    return kinds not in _at_hand


def run_sparingly(kernel: Any, args: tuple[Any, ...], entries: int) -> None:
    """Run a kernel on tiles of so many entries, in the interpreter where it is not worth compiling.

    What it writes is the same.
    """
    if config.DISABLE_JIT or not interprets(kernel, args, entries):
        kernel(*args)
        return
    with _lock:
        _interpreted[kernel] += entries
    kernel.py_func(*args)


def _kind_of(argument: Any) -> Any:
    """What an argument's type for numba goes by: close enough, as masks don't depend on it."""
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim
    return type(argument)
