"""The arithmetic that exactness stands on, whatever mode the calling thread is in.

Libraries built with fast-math, and ``torch.set_flush_denormal``, make a processor take subnormal
numbers for zeros; others leave it rounding upwards or downwards, or have numpy raise at the first
underflow. Scores read or proofs checked in such a mode are of other numbers than were given.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np

from nmflow.errors import NmflowError

_LEAST_NORMAL = sys.float_info.min
_HALF_STEP = sys.float_info.epsilon / 2

Restore = Callable[[], object]
P = ParamSpec("P")
R = TypeVar("R")


def standard_arithmetic(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a function that rounds to nearest, keeps subnormals and calls numpy as it is.

    On leaving, the calling thread is in the mode that it was in. Threads that the function starts
    inherit the mode.

    Raises
    ------
    NmflowError
        By the function, where the processor is in another mode and can't be switched.
    """

    @functools.wraps(function)
    def calculate(*args: P.args, **options: P.kwargs) -> R:
        with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
            if is_standard():
                return function(*args, **options)
            restore = _make_standard()
            try:
                _check_standard()
                return function(*args, **options)
            finally:
                restore()

    return calculate


def _check_standard() -> None:
    if not is_standard():
        raise NmflowError(
            "this thread rounds floats in another way than to the nearest, or takes subnormal ones"
            " for zero, which makes masks and proofs wrong, and nmflow can't change that here: undo"
            " it, for example by torch.set_flush_denormal(False)"
        )


def is_standard() -> bool:
    """Whether the calling thread's floats are those of IEEE 754 by default."""
    # A subnormal number is neither flushed to zero where it arises nor taken for zero where read;
    # and halves of the last place are rounded to even, a little more than halves away from zero.
    return (
        _LEAST_NORMAL * 0.5 != 0.0
        and 1.0 + _HALF_STEP == 1.0
        and -1.0 - _HALF_STEP == -1.0
        and 1.0 + 1.5 * _HALF_STEP != 1.0
    )


def _make_standard() -> Restore:
    """Switch the calling thread's mode, where there is a way; what switches back."""
    switch = _windows if sys.platform == "win32" else _posix
    try:
        return switch()
    except (AttributeError, OSError, ValueError):
        return lambda: None


# An fenv_t has 4 to 32 bytes on the systems that there are.
_ENVIRONMENT_BYTES = 256


def _posix() -> Restore:
    """Through C's <fenv.h>, of which the default environment keeps subnormals."""
    library = _c_library()
    saved = ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
    library.fegetenv(saved)
    if sys.platform == "darwin":
        default = ctypes.byref(ctypes.c_char.in_dll(library, "_FE_DFL_ENV"))
    else:
        default = ctypes.c_void_p(-1)
    library.fesetenv(default)
    return lambda: library.fesetenv(saved)


@functools.cache
def _c_library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "fesetenv") else ctypes.CDLL(ctypes.util.find_library("m"))


# Of Microsoft's <float.h>: what of the control word says how subnormals and roundings are treated.
_MCW_DN, _MCW_RC = 0x03000000, 0x00000300


def _windows() -> Restore:
    """Through Microsoft's C library, whose zeros mean to keep subnormals and round to nearest."""
    control = ctypes.CDLL("ucrtbase")._controlfp_s
    before, now = ctypes.c_uint(), ctypes.c_uint()
    control(ctypes.byref(before), 0, 0)
    control(ctypes.byref(now), 0, _MCW_DN | _MCW_RC)
    return lambda: control(ctypes.byref(now), before.value, _MCW_DN | _MCW_RC)
