"""The safetensors format: what is where in a file.

The safetensors library judges whether a file is valid; offsets are then read from the header (an
8-byte little-endian length, then JSON), because only they say where to write, and they serve every
dtype, float8 too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

from nmflow.checkpoint.formats.file_bytes import reading
from nmflow.checkpoint.formats.model import Shard
from nmflow.checkpoint.formats.tensor import Tensor
from nmflow.errors import MissingExtraError, NmflowError


def read_safetensors(path: Path, index: int = 0) -> Shard:
    """Validate a file and read its header.

    Parameters
    ----------
    path : Path
    index : int
        Which of the model's files it is.

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
        with reading(path) as file, safe_open(str(path), framework="numpy"):
            return _read_header(path, file, index)
    except (SafetensorError, ValueError) as error:
        if isinstance(error, NmflowError):
            raise
        raise NmflowError(f"cannot read {path}: no valid safetensors file ({error})") from error


def read_metadata(path: Path) -> dict[str, str]:
    """What a valid file says about itself."""
    with reading(path) as file:
        metadata: dict[str, str] = _header(file)[0].get("__metadata__", {})
    return metadata


def _header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The header, and where it ends."""
    length = int.from_bytes(file.read(8), "little")
    return json.loads(file.read(length), object_pairs_hook=_without_doubles), 8 + length


def _read_header(path: Path, file: BinaryIO, index: int) -> Shard:
    header, data_start = _header(file)
    tensors = [
        Tensor(
            name,
            entry["dtype"],
            tuple(entry["shape"]),
            data_start + entry["data_offsets"][0],
            data_start + entry["data_offsets"][1],
            index,
        )
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.stop))
    return Shard(path, file.seek(0, 2), tuple(tensors))


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{double!r} is there twice")
    return found
