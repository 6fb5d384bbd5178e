"""Checksums that a format keeps of its bytes, brought up to date while they are written."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, BinaryIO

from nmflow.checkpoint.formats.file_bytes import read_bytes, spans
from nmflow.checkpoint.formats.model import Seal

_WIDTH = 4


class Sealer:
    """Follows the bytes of one file.

    Parameters
    ----------
    seals : sequence of Seal
        Those that change, in order and apart from each other.
    """

    def __init__(self, seals: Sequence[Seal]) -> None:
        self._seals = tuple(seals)
        self._stops = [seal.stop for seal in seals]
        self._sums = [0] * len(seals)
        self._places = sorted((place, i) for i, seal in enumerate(seals) for place in seal.places)

    def pass_on(self, start: int, data: Any) -> Any:
        """The bytes from ``start`` on as they are to be written, in the order of the file."""
        stop = start + len(data)
        index = bisect_left(self._stops, start + 1)
        while index < len(self._seals) and self._seals[index].start < stop:
            seal = self._seals[index]
            part = memoryview(data)[max(start, seal.start) - start : min(stop, seal.stop) - start]
            self._sums[index] = zlib.crc32(part, self._sums[index])
            index += 1
        at = bisect_left(self._places, (start - _WIDTH + 1, 0))
        if at < len(self._places) and self._places[at][0] < stop:
            data = bytearray(data)
        while at < len(self._places) and self._places[at][0] < stop:
            place, index = self._places[at]
            value = self._sums[index].to_bytes(_WIDTH, "little")
            # One that is cut between two pieces has some of it in each.
            for offset in range(_WIDTH):
                if start <= place + offset < stop:
                    data[place + offset - start] = value[offset]
            at += 1
        return data

    def catch_up(self, file: BinaryIO, stop: int) -> None:
        """Read what is written already, up to ``stop``."""
        for index, seal in enumerate(self._seals):
            self._sums[index] = 0
            for span in spans(seal.start, min(seal.stop, stop)):
                self._sums[index] = zlib.crc32(read_bytes(file, *span), self._sums[index])

    def finish(self, file: BinaryIO) -> None:
        """Write the checksums that stand before their bytes, which PyTorch's don't."""
        for place, index in self._places:
            if place < self._seals[index].stop:
                file.seek(place)
                file.write(self._sums[index].to_bytes(_WIDTH, "little"))
