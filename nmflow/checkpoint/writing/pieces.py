"""A file that is to be written, as pieces in order: what is copied, and what is pruned."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nmflow.checkpoint.bands import Band
from nmflow.checkpoint.formats.file_bytes import read_bytes, reading, spans
from nmflow.checkpoint.formats.model import Seal
from nmflow.checkpoint.layer_job import Findings, LayerJob
from nmflow.checkpoint.report import MaskSample

# Entries of a band that is worked at by one thread; larger ones, which can't be cut, have all.
ALONE_ENTRIES = 1 << 25


@dataclass(frozen=True, slots=True)
class Piece:
    """A span of a file that is to be written.

    Attributes
    ----------
    start, stop : int
        Of the file that is written.
    source : Path or None
        Copied from there, from the same span, unless it is a band.
    data : bytes
        What it is, where it has no source.
    band : Band or None
    masks : bool
        Whether the band's mask is written in place of its weights.
    ends : str
        The name of the layer that ends here; "" if none does.
    """

    start: int
    stop: int
    source: Path | None = None
    data: bytes = b""
    band: Band | None = None
    masks: bool = False
    ends: str = ""

    @property
    def size(self) -> int:
        """Roughly its entries: what memory it takes."""
        return self.band.size if self.band else self.stop - self.start


@dataclass(frozen=True, slots=True)
class Made:
    """What a piece came to.

    Attributes
    ----------
    data : bytes-like
    checksum : int
        Their CRC-32.
    found : Findings or None
        Of a band.
    sample : MaskSample or None
    """

    data: Any
    checksum: int
    found: Findings | None = None
    sample: MaskSample | None = None


@dataclass(frozen=True, slots=True)
class PieceWork:
    """Makes pieces, here or in another process.

    Attributes
    ----------
    job : LayerJob
    workers : int
        Threads for a band too large for one.
    """

    job: LayerJob
    workers: int

    def __call__(self, piece: Piece) -> Made:
        """Copy or prune."""
        if piece.band is None:
            data: Any = piece.data
            if piece.source is not None:
                with reading(piece.source) as file:
                    data = read_bytes(file, piece.start, piece.stop)
            return Made(data, zlib.crc32(data))
        pruned = self.job.run(piece.band, self.workers if piece.size > ALONE_ENTRIES else 1)
        array: Any = pruned.mask if piece.masks else pruned.data
        # An array, which other processes send without a copy.
        data = array.reshape(-1).view(np.uint8)
        return Made(data, zlib.crc32(data), pruned.found, pruned.sample)


@dataclass(frozen=True, slots=True)
class Output:
    """A file that is to be written.

    Attributes
    ----------
    name : str
        Relative to where the others are.
    size : int
    pieces : tuple of Piece
        All of it, in order.
    seals : tuple of Seal
        Checksums in it that change.
    """

    name: str
    size: int
    pieces: tuple[Piece, ...]
    seals: tuple[Seal, ...] = ()


def pruned_copy(
    name: str, source: Path, size: int, bands: Sequence[Sequence[Band]], seals: Sequence[Seal]
) -> Output:
    """The copy of a file in which bands are pruned.

    Parameters
    ----------
    name : str
    source : Path
    size : int
    bands : sequence of sequence of Band
        Of each layer, in the order of the file.
    seals : sequence of Seal
        Of the file, in order.
    """
    spans_of_layers = [(each[0].start, each[-1].stop) for each in bands]
    changed = tuple(
        seal
        for seal in seals
        if any(seal.start < stop and start < seal.stop for start, stop in spans_of_layers)
    )
    return Output(name, size, tuple(_copy_and_prune(source, size, bands)), changed)


def _copy_and_prune(source: Path, size: int, bands: Sequence[Sequence[Band]]) -> Iterator[Piece]:
    position = 0
    for layer in bands:
        yield from _copies(source, position, layer[0].start)
        for band in layer:
            ends = band.layer.name if band is layer[-1] else ""
            yield Piece(band.start, band.stop, band=band, ends=ends)
        position = layer[-1].stop
    yield from _copies(source, position, size)


def _copies(source: Path, start: int, stop: int) -> Iterator[Piece]:
    return (Piece(*span, source=source) for span in spans(start, stop))
