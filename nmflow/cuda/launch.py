"""Compiling the kernels with NVRTC and launching them on the caller's stream, by cuda.core.

Nothing waits for the device: a launch returns as soon as it is in the stream, and may be captured
in a CUDA graph once the kernels are compiled.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from nmflow.cuda.problem import arguments
from nmflow.cuda.source import source
from nmflow.errors import MissingExtraError, NmflowError

KERNELS = ("solve_all", "solve_open", "solve_difficult")
THREADS = 128
"""Of a block, as ``WARPS`` in ``tiles.h``."""
BLOCKS = 16
"""Of a multiprocessor at most; each takes tiles until there are none."""
LEAST_CAPABILITY = (8, 0)
"""The first with the warp reductions and the half minimum that the kernels use."""
_HINT = "leave it to tensor operations by uninstalling cuda-core, or install: pip install"


class Kernels(NamedTuple):
    """The kernels of one n:m on one device."""

    all: Any
    open: Any
    difficult: Any
    blocks: int


def _core() -> Any:
    try:
        from cuda import core
    except ImportError:
        raise MissingExtraError("masks by CUDA kernels", "cuda") from None
    return core


def available() -> bool:
    """Whether the packages of the extra are there; nothing of them is started."""
    try:
        _core()
    except NmflowError:
        return False
    return True


@functools.cache
def kernels(n: int, m: int, dtype: str, signed: bool, device: int) -> Kernels:
    """Compile for a device, once.

    Raises
    ------
    NmflowError
        In one line that names the extra: if packages are missing, the driver is missing or too
        old, NVRTC is missing or does not know the device.
    """
    core = _core()
    gpu = _started(core, device)
    capability = tuple(gpu.compute_capability)
    if capability < LEAST_CAPABILITY:
        raise NmflowError(
            f"CUDA device {device} is of compute capability {capability[0]}.{capability[1]}, and"
            f" kernels of nmflow[cuda] need {LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]}"
        )
    binary = compiled(n, m, dtype, signed, f"sm_{capability[0]}{capability[1]}")
    try:
        first, second, third = (binary.get_kernel(name) for name in KERNELS)
    except Exception as error:
        raise _failed("the driver refuses the compiled kernels, it may be too old", error) from None
    return Kernels(first, second, third, gpu.properties.multiprocessor_count * BLOCKS)


def compiled(n: int, m: int, dtype: str, signed: bool, architecture: str) -> Any:
    """Object code for an architecture such as ``sm_90``; needs NVRTC, but no device."""
    core = _core()
    try:
        options = core.ProgramOptions(std="c++17", arch=architecture)
        program = core.Program(source(n, m, dtype, signed), "c++", options)
        return program.compile("cubin")
    except Exception as error:
        raise _failed(f"NVRTC is missing, or can't compile for {architecture}", error) from None


def _started(core: Any, device: int) -> Any:
    try:
        gpu = core.Device(device)
        gpu.set_current()
    except Exception as error:
        raise _failed(f"CUDA device {device} can't be used, or the driver", error) from None
    return gpu


def _failed(what: str, error: Exception) -> NmflowError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return NmflowError(f"{what}: {lines[0]}; {_HINT} 'nmflow[cuda]'")


class _Stream:
    """A stream of a framework, as cuda.core takes it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle


def launch(
    found: Kernels,
    stream: int,
    pointers: tuple[int, int, int],
    strides: tuple[int, ...],
    shape: tuple[int, ...],
    m: int,
    itemsize: int,
) -> None:
    """Put the kernels into a stream; see :func:`nmflow.cuda.problem.arguments`."""
    core = _core()
    values = arguments(pointers, strides, shape, m, itemsize).each
    config = core.LaunchConfig(grid=found.blocks, block=THREADS)
    on = core.Device().create_stream(_Stream(stream))
    for kernel in (found.all, found.open, found.difficult):
        core.launch(on, config, kernel, *values)
