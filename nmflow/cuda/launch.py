"""Compiling the kernels with NVRTC, by cuda.core, and launching them on the caller's stream.

Nothing waits for the device: a launch returns as soon as it is in the stream, and may be captured
in a CUDA graph once the kernels are compiled.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

from nmflow.cuda.problem import WARPS, Table
from nmflow.cuda.source import source
from nmflow.errors import MissingExtraError, NmflowError

SOLVING = ("solve_all", "solve_open", "solve_difficult")
"""Kernels that solve, in their order."""
REPLACING = ("put_in_force",)
"""Kernels that put solved masks in the place of those in force."""
BLOCKS = 16
"""Of a multiprocessor at most; each takes tiles until there are none."""
LEAST_CAPABILITY = (8, 0)
"""The first with the warp reductions and the half minimum that the kernels use."""
_HINT = "leave it to tensor operations by uninstalling cuda-core, or install: pip install"


class Kernels(NamedTuple):
    """The kernels of one n:m on one device.

    Attributes
    ----------
    each : dict of str to cuda.core.Kernel
        By the names of :data:`SOLVING` and :data:`REPLACING`.
    blocks : int
        Of a launch.
    """

    each: dict[str, Any]
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
def kernels(n: int, m: int, dtype: str, signed: bool, warm: bool, device: int) -> Kernels:
    """Compile for a device, once; for the other arguments see :func:`nmflow.cuda.source.source`.

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
    binary = compiled(n, m, dtype, signed, warm, f"sm_{capability[0]}{capability[1]}")
    try:
        each = {name: binary.get_kernel(name) for name in SOLVING + REPLACING}
    except Exception as error:
        raise _failed("the driver refuses the compiled kernels, it may be too old", error) from None
    return Kernels(each, gpu.properties.multiprocessor_count * BLOCKS)


def compiled(n: int, m: int, dtype: str, signed: bool, warm: bool, architecture: str) -> Any:
    """Object code for an architecture such as ``sm_90``; needs NVRTC, but no device."""
    core = _core()
    try:
        options = core.ProgramOptions(std="c++17", arch=architecture)
        program = core.Program(source(n, m, dtype, signed, warm=warm), "c++", options)
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


def launch(found: Kernels, names: tuple[str, ...], stream: int, table: Table) -> None:
    """Put kernels into a stream, one after the other, of the current device.

    The table goes with them by value: it may be freed as soon as they are there.

    Raises
    ------
    NmflowError
        If the driver refuses.
    """
    # cuda.core launches no kernels that take structures yet (cuda-python issue 2343).
    from cuda.bindings import driver

    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(table))
    sizes = (table.blocks, 1, 1, 32 * WARPS, 1, 1, 0)
    for name in names:
        (status,) = driver.cuLaunchKernel(
            driver.CUfunction(int(found.each[name].handle)),
            *sizes,
            driver.CUstream(stream),
            ctypes.addressof(parameters),
            0,
        )
        if status != driver.CUresult.CUDA_SUCCESS:
            raise NmflowError(f"the driver refuses to launch {name}: {status.name}")
