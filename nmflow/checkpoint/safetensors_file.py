"""The safetensors format: what is where in a file, and tensors to and from their bits.

The safetensors library judges whether a file is valid; offsets are then read from the header (an
8-byte little-endian length, then JSON), because only they say where to write, and they serve every
dtype, float8 too.
"""

from __future__ import annotations

import json
import math
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import MissingExtraError, NmflowError

# The unsigned integer that holds one entry's bits. Bits, so that "unchanged" means unchanged: for
# NaN payloads and negative zeros as well.
FLOATING = {"F16": "<u2", "BF16": "<u2", "F32": "<u4", "F64": "<u8"}
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file.

    Attributes
    ----------
    name : str
    dtype : str
        The format's code, ``"F32"`` for example.
    shape : tuple of int
    start, stop : int
        Its bytes, counted from the beginning of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A valid safetensors file.

    Attributes
    ----------
    path : Path
    size : int
        In bytes.
    data_start : int
        Where the header ends and the tensors begin.
    tensors : tuple of Tensor
        In the order of their bytes.
    """

    path: Path
    size: int
    data_start: int
    tensors: tuple[Tensor, ...]


def open_checkpoint(path: Path) -> Checkpoint:
    """Validate a file and read its header.

    Raises
    ------
    NmflowError
        If it cannot be read, or is no valid safetensors file.
    MissingExtraError
        If the safetensors library is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtraError("reading a safetensors file", "cli") from None
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise NmflowError(f"cannot read {path}: it is {what}")
        with safe_open(str(path), framework="numpy"), path.open("rb") as file:
            return _read_header(path, file)
    except OSError as error:
        raise NmflowError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, ValueError) as error:
        if isinstance(error, NmflowError):
            raise
        raise NmflowError(f"cannot read {path}: no valid safetensors file ({error})") from error


def _read_header(path: Path, file: BinaryIO) -> Checkpoint:
    length = int.from_bytes(file.read(8), "little")
    header: dict[str, Any] = json.loads(file.read(length))
    data_start = 8 + length
    size = file.seek(0, 2)
    tensors = [
        Tensor(
            name,
            entry["dtype"],
            tuple(entry["shape"]),
            data_start + entry["data_offsets"][0],
            data_start + entry["data_offsets"][1],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.stop))
    return Checkpoint(path, size, data_start, tuple(tensors))


def read_bytes(file: BinaryIO, start: int, stop: int) -> bytearray:
    """The bytes of a span of the file.

    Raises
    ------
    NmflowError
        If the file cannot be read, or ends before the span does.
    """
    data = bytearray(stop - start)
    try:
        file.seek(start)
        count = file.readinto(data)  # type: ignore[attr-defined]
    except OSError as error:
        raise NmflowError(f"cannot read {file.name}: {error.strerror or error}") from error
    if count != len(data):
        raise NmflowError(f"cannot read {file.name}: it became shorter while it was read")
    return data


def spans(start: int, stop: int, step: int = CHUNK_BYTES) -> list[tuple[int, int]]:
    """Cut a span into pieces of at most ``step`` bytes."""
    return [(i, min(i + step, stop)) for i in range(start, stop, step)]


def read_bits(file: BinaryIO, tensor: Tensor) -> NDArray[Any]:
    """A floating tensor's entries as unsigned integers of the same width, writable."""
    data = read_bytes(file, tensor.start, tensor.stop)
    return np.frombuffer(data, FLOATING[tensor.dtype]).reshape(tensor.shape)


def decode(bits: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The numbers that the bits stand for.

    A view, except for bfloat16, which numpy does not have: its 16 bits are the upper half of a
    float32, so it becomes exactly that.
    """
    if dtype == "BF16":
        return (bits.astype("<u4") << np.uint32(16)).view(_native("f4"))
    return bits.view(_native(f"f{bits.itemsize}"))


def decoded_dtype(dtype: str) -> str:
    """What :func:`decode` gives for a dtype of the format, as numpy names it."""
    return {"F16": "float16", "BF16": "float32", "F32": "float32", "F64": "float64"}[dtype]


def _native(code: str) -> np.dtype[Any]:
    # The format is little-endian; on a little-endian machine "<f4" and "f4" are the same dtype.
    return np.dtype(code if sys.byteorder == "little" else f"<{code}")
