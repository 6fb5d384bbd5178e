"""Any framework's array -> numpy and back, without importing any framework.

An array of PyTorch, JAX or CuPy can exist only if its framework was imported, so it is found in
``sys.modules``. Everything else comes through the array API namespace, DLPack, ``__array__`` or
``numpy.asarray``. On the CPU no weights are copied.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.dlpack import device_elsewhere

Restore = Callable[[NDArray[np.bool_]], Any]

MAX_BYTES = 8
SUPPORTED = "float16, bfloat16, float32, float64, or integers of up to 64 bits"


class Part(NamedTuple):
    """Where an array lies in a larger one, of which it is a part.

    Attributes
    ----------
    whole : tuple of int
        The larger one's shape.
    start : tuple of int
        Where in it the part begins.
    """

    whole: tuple[int, ...]
    start: tuple[int, ...]


class HostArray(NamedTuple):
    """An array in host memory, and the way back to where it came from.

    Attributes
    ----------
    values : ndarray
        The entries, of a numpy dtype, or the 16-bit patterns of bfloat16.
    dtype : object
        The dtype, which prints as its framework names it.
    bfloat16 : bool
        Whether ``values`` holds bfloat16 patterns.
    restore : callable
        Turns a bool ndarray into the framework's array on the original device.
    part : Part, optional
        Of which array it is a part, for what errors say.
    """

    values: NDArray[Any]
    dtype: object
    bfloat16: bool
    restore: Restore
    part: Part | None = None

    def __str__(self) -> str:
        """How errors describe it, with its shape and dtype."""
        shape, of_whole = self.values.shape, ""
        if self.part is not None and self.part.whole != shape:
            of_whole = f" (of which this is the part of shape {shape} at {self.part.start})"
            shape = self.part.whole
        return f"shape {shape}{of_whole} and dtype {self.dtype}"

    def place(self, flat: int) -> tuple[int, ...]:
        """The index of an entry, which is given in row-major order, as the user has it."""
        start = self.part.start if self.part is not None else (0,) * self.values.ndim
        index = np.unravel_index(flat, self.values.shape)
        return tuple(first + int(i) for first, i in zip(start, index, strict=True))

    def decode(self, part: NDArray[Any]) -> NDArray[Any]:
        """Numbers that numpy can calculate with, from a part of ``values``."""
        if self.bfloat16:
            return (part.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return part

    def is_finite(self, part: NDArray[Any]) -> bool:
        """Whether a part of ``values`` holds neither NaN nor infinity."""
        if self.bfloat16:
            infinite = np.uint16(0x7F80)
            return bool(((part & infinite) != infinite).all())
        return part.dtype.kind != "f" or bool(np.isfinite(part).all())


def to_host(array: Any, what: str = "weights") -> HostArray:
    """View any array-like in host memory.

    Raises
    ------
    NmflowError
        For a dtype that is no real number, or an object that is no array; ``what`` names it.
    """
    if isinstance(array, HostArray):
        return array
    for module, kind, convert in _FRAMEWORKS:
        framework = sys.modules.get(module)
        if framework is not None and isinstance(array, getattr(framework, kind, ())):
            return convert(framework, array, what)
    return _from_anything(array, what)


def on_accelerator(array: Any) -> str | None:
    """The framework that has to calculate with an array, where its numbers are not in host memory.

    A plain torch tensor or a JAX array on another device; a traced JAX value, which has no numbers.
    ``"dlpack"`` for what any other framework, such as CuPy, holds on a device.
    """
    for name, kind, elsewhere in (
        ("torch", "Tensor", _torch_elsewhere),
        ("jax", "Array", _jax_elsewhere),
    ):
        framework = sys.modules.get(name)
        if framework is not None and isinstance(array, getattr(framework, kind, ())):
            return name if elsewhere(framework, array) else None
    return "dlpack" if device_elsewhere(array) else None


def _torch_elsewhere(torch: Any, tensor: Any) -> bool:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    return plain and tensor.device.type not in ("cpu", "meta")


def _jax_elsewhere(jax: Any, array: Any) -> bool:
    if isinstance(array, jax.core.Tracer):
        return True
    return any(device.platform != "cpu" for device in array.devices())


def _from_torch(torch: Any, tensor: Any, what: str) -> HostArray:
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        raise NmflowError(
            f"{what} is a torch tensor of layout {tensor.layout} on device {tensor.device}:"
            " pass a dense tensor that holds values (tensor.to_dense())"
        )
    tensor = tensor.detach()
    device = tensor.device
    bfloat16 = tensor.dtype is torch.bfloat16
    try:
        check_storage(tensor, what)
        # A view that negates when read has no bits to look at.
        tensor = tensor.resolve_neg()
        values = (tensor.view(torch.int16) if bfloat16 else tensor).cpu().numpy()
    except (TypeError, RuntimeError) as error:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            raise NmflowError(
                f"{what} is a {type(tensor).__name__}, which can't be read here ({error}): pass a"
                " plain tensor of its values (of a DTensor, full_tensor())"
            ) from None
        raise NmflowError(
            f"{what} of dtype {name} can't be read ({error}): use {SUPPORTED}"
        ) from None

    def restore(mask: NDArray[np.bool_]) -> Any:
        return torch.from_numpy(mask).to(device)

    return _host(values.view(np.uint16) if bfloat16 else values, name, bfloat16, restore, what)


def check_storage(tensor: Any, what: str) -> None:
    """Raise where a torch tensor's memory was freed: reading it would end the process."""
    if not tensor.numel():
        return
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + last + 1) * tensor.element_size()
    held = tensor.untyped_storage().nbytes()
    if held < needed:
        raise NmflowError(
            f"{what} of shape {tuple(tensor.shape)} is a torch tensor whose storage holds {held} of"
            f" the {needed} bytes it needs: it was freed or resized, as FSDP does with parameters"
            " that are sharded; gather it first (FullyShardedDataParallel.summon_full_params)"
        )


def _from_jax(jax: Any, array: Any, what: str) -> HostArray:
    if isinstance(array, jax.core.Tracer):
        raise NmflowError(
            f"{what} is a traced JAX value, which has no numbers yet: inside jit, grad and vmap"
            " nmflow.solve takes method='flow' without constraints or units; make other calls"
            " outside of them"
        )

    def restore(mask: NDArray[np.bool_]) -> Any:
        return jax.device_put(mask, array.sharding)

    return _from_numpy(np.asarray(array), restore, what)


def _from_cupy(cupy: Any, array: Any, what: str) -> HostArray:
    def restore(mask: NDArray[np.bool_]) -> Any:
        with array.device:
            return cupy.asarray(mask)

    return _from_numpy(cupy.asnumpy(array), restore, what)


def _from_anything(array: Any, what: str) -> HostArray:
    restore: Restore = as_is
    if hasattr(array, "__array_namespace__") and not isinstance(array, np.ndarray):
        namespace, device = array.__array_namespace__(), array.device

        def restore(mask: NDArray[np.bool_]) -> Any:
            return namespace.asarray(mask, device=device)

    try:
        return _from_numpy(_as_ndarray(array), restore, what)
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        if isinstance(error, NmflowError):
            raise
        if device := device_elsewhere(array):
            raise NmflowError(
                f"{what} of type {type(array).__name__} lies on {device}, which neither PyTorch nor"
                f" numpy reads here ({error}): install PyTorch for that device, or pass a copy in"
                " host memory"
            ) from None
        raise NmflowError(
            f"{what} of type {type(array).__name__} can't be read as an array ({error}):"
            " pass a numpy, PyTorch, JAX or CuPy array, or anything with __dlpack__ or __array__"
        ) from None


def writable_mask(array: Any, shape: tuple[int, ...], what: str) -> NDArray[np.bool_]:
    """View a bool array of numpy, or a torch tensor on the CPU, that a mask is to be written to.

    Raises
    ------
    NmflowError
        For any other object, another shape, or entries that can't be written one by one.
    """
    view = array
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor) and array.device.type == "cpu":
        view = to_host(array, what).values
    if not isinstance(view, np.ndarray) or view.dtype != np.bool_ or view.shape != shape:
        found = f"{getattr(array, 'dtype', '')} of shape {tuple(getattr(array, 'shape', ()))}"
        raise NmflowError(
            f"{what} is {type(array).__name__} {found}: pass a bool array of numpy, or of torch on"
            f" the CPU, of shape {shape}"
        )
    shares = any(step == 0 and size > 1 for step, size in zip(view.strides, shape, strict=True))
    if not view.flags.writeable or (shares and view.size):
        raise NmflowError(f"{what} is read-only, or its entries share memory: pass a copy of it")
    return view


def _as_ndarray(array: Any) -> NDArray[Any]:
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
        return np.asarray(array)
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError):
        # A dtype or device that numpy's DLPack refuses may still offer __array__.
        if not hasattr(array, "__array__"):
            raise
        return np.asarray(array)


def _from_numpy(values: NDArray[Any], restore: Restore, what: str) -> HostArray:
    dtype = values.dtype
    # ml_dtypes, which JAX and others use, registers bfloat16 with numpy under that name.
    bfloat16 = dtype.type.__module__ != "numpy" and dtype.name == "bfloat16"
    return _host(values.view(np.uint16) if bfloat16 else values, dtype, bfloat16, restore, what)


def _host(
    values: NDArray[Any], dtype: object, bfloat16: bool, restore: Restore, what: str
) -> HostArray:
    dtype_is_numpy = values.dtype.type.__module__ == "numpy"
    if not dtype_is_numpy or values.dtype.kind not in "biuf" or values.dtype.itemsize > MAX_BYTES:
        name = getattr(dtype, "name", dtype)
        raise NmflowError(f"{what} of dtype {name} and shape {values.shape}: use {SUPPORTED}")
    return HostArray(values, dtype, bfloat16, restore)


def for_kernels(array: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy: kernels are compiled for such as are C-contiguous and writable."""
    fits = array.flags.c_contiguous and array.flags.writeable
    return array if fits else array.copy(order="C")


def as_is(mask: NDArray[np.bool_]) -> Any:
    """The way back of an array that is numpy's own."""
    return mask


_FRAMEWORKS: tuple[tuple[str, str, Callable[[Any, Any, str], HostArray]], ...] = (
    ("torch", "Tensor", _from_torch),
    ("jax", "Array", _from_jax),
    ("cupy", "ndarray", _from_cupy),
)
