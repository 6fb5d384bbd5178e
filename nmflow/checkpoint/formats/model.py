"""A model on a disk, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from nmflow.checkpoint.formats.file_bytes import reading
from nmflow.checkpoint.formats.tensor import Tensor, read_bits

Kind = Literal["safetensors", "folder", "torch"]


@dataclass(frozen=True, slots=True)
class Seal:
    """A checksum that the format keeps of some of the file's bytes: their CRC-32.

    Attributes
    ----------
    start, stop : int
        The bytes that it is of.
    places : tuple of int
        Where it stands, four bytes each, little-endian.
    """

    start: int
    stop: int
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of weights.

    Attributes
    ----------
    path : Path
    size : int
        In bytes.
    tensors : tuple of Tensor
        In the order of their bytes.
    seals : tuple of Seal
        Of the bytes of tensors, in their order.
    """

    path: Path
    size: int
    tensors: tuple[Tensor, ...]
    seals: tuple[Seal, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model of any kind, as :func:`open_model` finds it. Weights stay on the disk.

    Attributes
    ----------
    path : Path
    kind : {"safetensors", "folder", "torch"}
        A safetensors file, a Hugging Face folder, a file of ``torch.save``.
    shards : tuple of Shard
        One, or those of the folder, in order of their names.
    extras : tuple of Path
        Files of the folder that go along with the weights: the index, configuration, tokenizer.
        Relative to the folder.
    left_out : tuple of Path
        Files of the folder that hold the same weights once more, in other formats. Relative.
    """

    path: Path
    kind: Kind
    shards: tuple[Shard, ...]
    extras: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, shard by shard, in the order of their bytes."""
        return tuple(tensor for shard in self.shards for tensor in shard.tensors)

    @property
    def files(self) -> tuple[Path, ...]:
        """The shards' paths: ``files[tensor.shard]`` is where a tensor is."""
        return tuple(shard.path for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes of all files of weights."""
        return sum(shard.size for shard in self.shards)

    def read_bits(self, tensor: Tensor) -> NDArray[Any]:
        """A floating tensor's bits; :func:`nmflow.checkpoint.decode` makes numbers of them.

        Raises
        ------
        NmflowError
            If the file cannot be read, or ends too early.
        """
        with reading(self.files[tensor.shard]) as file:
            return read_bits(file, tensor)
