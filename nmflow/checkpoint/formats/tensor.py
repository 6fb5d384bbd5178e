"""One tensor of a file: its place, and its numbers from and to their bits."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nmflow.checkpoint.formats.file_bytes import read_into

# The unsigned integer that holds one entry's bits. Bits, so that "unchanged" means unchanged: for
# NaN payloads and negative zeros as well.
FLOATING = {"F16": "<u2", "BF16": "<u2", "F32": "<u4", "F64": "<u8"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file.

    Attributes
    ----------
    name : str
        Unique in the model.
    dtype : str
        The safetensors format's code, ``"F32"`` for example.
    shape : tuple of int
    start, stop : int
        Its bytes, counted from the beginning of the file. Two tensors that are one, under two
        names, have the same.
    shard : int, default 0
        Which of the model's files it is in.
    order : tuple of int, default ()
        Axes from the slowest to the fastest in memory; () where it is row-major.
    scope : str, default ""
        What the name begins with, up to and with the last dot, that says where in a file of nested
        dicts the network is: ``"state_dict."``. The rest is the tensor's name in the network.
    flaw : str, default ""
        Why its bytes can't be changed on their own, if they can't.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    shard: int = 0
    order: tuple[int, ...] = ()
    scope: str = ""
    flaw: str = ""

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def obstacle(self) -> str:
        """Why it can't be pruned whatever its name and shape; "" if it can."""
        return self.flaw or ("" if self.dtype in FLOATING else f"dtype {self.dtype}")

    @property
    def stored_order(self) -> tuple[int, ...]:
        """Axes from the slowest to the fastest in memory, those of length 1 last."""
        order = self.order or range(len(self.shape))
        return tuple(sorted(order, key=lambda axis: self.shape[axis] == 1))

    @property
    def place(self) -> tuple[int, int, int]:
        """Shard, start and stop: the same for tensors that share their bytes."""
        return self.shard, self.start, self.stop


def read_bits(
    file: BinaryIO, tensor: Tensor, first: int = 0, last: int | None = None
) -> NDArray[Any]:
    """A floating tensor's entries as unsigned integers of the same width, writable.

    Parameters
    ----------
    file : binary file
    tensor : Tensor
    first, last : int
        Of the axis that is slowest in memory, from which index and up to which; by default all.

    Returns
    -------
    ndarray
        Of the tensor's shape, but for that axis; in memory as it is in the file.

    Raises
    ------
    NmflowError
        If the file cannot be read, or ends too early.
    """
    order, dtype = tensor.stored_order, np.dtype(FLOATING[tensor.dtype])
    stored = [tensor.shape[axis] for axis in order]
    start = tensor.start
    if order:
        last = stored[0] if last is None else last
        start += first * dtype.itemsize * math.prod(stored[1:])
        stored[0] = last - first
    bits = np.empty(stored, dtype)
    read_into(file, start, bits.reshape(-1).view(np.uint8))
    return bits.transpose(np.argsort(order))


def decode(bits: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The numbers that the bits stand for.

    A view, except for bfloat16, which numpy does not have: its 16 bits are the upper half of a
    float32, so it becomes exactly that.
    """
    if dtype == "BF16":
        wide = bits.astype("<u4")
        wide <<= np.uint32(16)
        return wide.view(_native("f4"))
    return bits.view(_native(f"f{bits.itemsize}"))


def decoded_dtype(dtype: str) -> str:
    """What :func:`decode` gives for a dtype of the format, as numpy names it."""
    return {"F16": "float16", "BF16": "float32", "F32": "float32", "F64": "float64"}[dtype]


def _native(code: str) -> np.dtype[Any]:
    # The format is little-endian; on a little-endian machine "<f4" and "f4" are the same dtype.
    return np.dtype(code if sys.byteorder == "little" else f"<{code}")
