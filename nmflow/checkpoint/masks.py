"""Masks alone, in a file: one bit an entry."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.checkpoint.formats.file_bytes import read_bytes, reading
from nmflow.checkpoint.formats.safetensors_file import read_metadata, read_safetensors
from nmflow.checkpoint.formats.tensor import Tensor
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern

KEY = "nmflow.masks"
_BYTE = 8


@dataclass(frozen=True, slots=True)
class PackedMask:
    """Where the mask of a layer is in a file of masks.

    Attributes
    ----------
    name : str
        The tensor's.
    pattern : Pattern
    shape : tuple of int
        The tensor's.
    order : tuple of int
        Axes from the slowest to the fastest, as the bits are in the file.
    start, stop : int
        Its bytes.
    """

    name: str
    pattern: Pattern
    shape: tuple[int, ...]
    order: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


def packed_size(tensor: Tensor) -> int:
    """How many bytes the mask of a tensor takes."""
    return -(-tensor.size // _BYTE)


def mask_header(layers: Sequence[tuple[Tensor, Pattern]]) -> bytes:
    """What a file of the masks of these tensors begins with."""
    described = {
        tensor.name: {
            "n": pattern.n,
            "m": pattern.m,
            "pattern": pattern.name,
            "shape": tensor.shape,
            "order": tensor.stored_order,
        }
        for tensor, pattern in layers
    }
    header: dict[str, Any] = {"__metadata__": {KEY: json.dumps(described)}}
    position = 0
    for tensor, _ in layers:
        size = packed_size(tensor)
        offsets = [position, position + size]
        header[tensor.name] = {"dtype": "U8", "shape": [size], "data_offsets": offsets}
        position += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _BYTE)
    return len(text).to_bytes(_BYTE, "little") + text


def open_masks(path: str | os.PathLike[str]) -> tuple[PackedMask, ...]:
    """The masks of a file that ``nmflow prune --masks-only`` wrote, in the order of the file.

    Raises
    ------
    NmflowError
        If the file can't be read, or is another.
    """
    path = Path(path)
    shard = read_safetensors(path)
    text = read_metadata(path).get(KEY)
    if text is None:
        raise NmflowError(f"cannot read {path}: it holds no masks of nmflow (--masks-only)")
    try:
        described = json.loads(text)
        return tuple(_packed(tensor, described[tensor.name]) for tensor in shard.tensors)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NmflowError(f"cannot read {path}: its masks are broken ({error})") from error


def _packed(tensor: Tensor, found: Mapping[str, Any]) -> PackedMask:
    shape, order = tuple(found["shape"]), tuple(found["order"])
    pattern = Pattern(found["n"], found["m"], found["pattern"])
    whole = all(type(side) is int and side >= 0 for side in shape)
    mask = PackedMask(tensor.name, pattern, shape, order, tensor.start, tensor.stop)
    if (
        not whole
        or sorted(order) != list(range(len(shape)))
        or tensor.dtype != "U8"
        or tensor.stop - tensor.start != -(-mask.size // _BYTE)
    ):
        raise ValueError(f"{tensor.name!r} is not as it says")
    return mask


def read_mask(path: str | os.PathLike[str], mask: PackedMask) -> NDArray[np.bool_]:
    """One mask of a file, of its tensor's shape.

    Raises
    ------
    NmflowError
        If the file can't be read.
    """
    with reading(Path(path)) as file:
        return _unpacked(read_bytes(file, mask.start, mask.stop), mask)


def read_masks(path: str | os.PathLike[str]) -> dict[str, NDArray[np.bool_]]:
    """All masks of a file, by the names of their tensors: True where a weight is kept.

    Of models that are larger than memory, take them one by one: :func:`open_masks` and
    :func:`read_mask`.

    Parameters
    ----------
    path : path
        What ``nmflow prune --masks-only`` wrote.

    Raises
    ------
    NmflowError
        If the file can't be read, or is another.

    Notes
    -----
    The file is a safetensors file. For each layer it has a tensor of bytes under the layer's name,
    ``numpy.packbits`` of the mask in the order of the model's memory, and in its metadata, under
    ``nmflow.masks``, a JSON object with n, m, pattern, shape and order of axes of each.

    Examples
    --------
    To prune a state dict: ``weights[name] *= mask`` for each name and mask of ``read_masks(path)``.
    """
    return dict(_every(path))


def _every(path: str | os.PathLike[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for mask in open_masks(path):
        yield mask.name, read_mask(path, mask)


def _unpacked(data: bytearray, mask: PackedMask) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=mask.size).view(np.bool_)
    stored = bits.reshape([mask.shape[axis] for axis in mask.order])
    return stored.transpose(np.argsort(mask.order))
