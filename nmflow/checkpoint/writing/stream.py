"""Outputs written piece by piece, as pieces are made, and noted layer by layer."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from nmflow.checkpoint.files import settle, write
from nmflow.checkpoint.formats.file_bytes import read_bytes
from nmflow.checkpoint.layer_job import Findings, layer_report
from nmflow.checkpoint.layers import Layer
from nmflow.checkpoint.pipeline import Crew
from nmflow.checkpoint.report import LayerReport, MaskSample
from nmflow.checkpoint.writing.journal import Journal
from nmflow.checkpoint.writing.pieces import Made, Output, Piece
from nmflow.checkpoint.writing.records import layer_of, layer_record, sample_of, sample_record
from nmflow.checkpoint.writing.sealing import Sealer
from nmflow.checkpoint.writing.work_folder import WorkFolder
from nmflow.errors import NmflowError

# What is lost by a kill, at most, and how often the disk is waited for.
NOTED_EVERY = 1.0
# Of pieces that are worked at side by side, or one.
ENTRIES_AT_ONCE = 1 << 26

Tell = Callable[[str, int], None]


@dataclass(slots=True)
class Written:
    """What is known of the layers that are written.

    Attributes
    ----------
    layers : dict of str to LayerReport
        By name, in the order of the files.
    sample : MaskSample or None
        Of the first.
    resumed : int
        Bytes that an earlier run had written.
    """

    layers: dict[str, LayerReport] = field(default_factory=dict)
    sample: MaskSample | None = None
    resumed: int = 0


class Settling:
    """Files that are brought to the disk while others are written, or read again."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._files: list[Future[None]] = []

    def __enter__(self) -> Settling:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def begin(self, path: Path) -> None:
        """Bring a file that is written to the disk."""
        self._files.append(self._pool.submit(_settle, path))

    def wait(self) -> None:
        """Until all are there.

        Raises
        ------
        OSError
            If one can't be.
        """
        for each in self._files:
            each.result()


class Writer:
    """Writes the outputs of one job into a work folder.

    Parameters
    ----------
    folder : WorkFolder
    outputs : sequence of Output
    entries : list of dict
        What the journal says is done; what is not found to be so is done again.
    """

    def __init__(
        self, folder: WorkFolder, outputs: Sequence[Output], entries: list[dict[str, Any]]
    ) -> None:
        self.folder, self.outputs = folder, outputs
        self.written = Written()
        self._begins = self._take_up(entries)
        self.written.resumed = sum(self._begins.values())

    def _take_up(self, entries: list[dict[str, Any]]) -> dict[str, int]:
        """From where each output is to be written."""
        begins, good = {}, []
        for output in self.outputs:
            path = self.folder.out / output.name
            mine = [entry for entry in entries if entry.get("file") == output.name]
            found = _checked(path, mine) if mine and path.is_file() else []
            cuts = {piece.start for piece in output.pieces} | {0, output.size}
            # A journal of bands that are cut otherwise is of no use.
            while found and found[-1]["spans"][-1][1] not in cuts:
                found.pop()
            begins[output.name] = found[-1]["spans"][-1][1] if found else 0
            good += found
            for entry in found:
                if entry.get("layer"):
                    report = layer_of(entry["layer"])
                    self.written.layers[report.name] = report
                if entry.get("sample") and self.written.sample is None:
                    self.written.sample = sample_of(entry["sample"])
        if len(good) < len(entries):
            kept = self.folder.journal.read()[:1]
            self.folder.journal.cut(kept + good)
        return begins

    def run(
        self, work: Callable[[Piece], Made], crew: Crew, tell: Tell, settling: Settling
    ) -> Written:
        """Make and write all that is not there yet.

        Parameters
        ----------
        work : callable
            Makes a piece.
        crew : Crew
            Who calls it.
        tell : callable
            ``tell(what, done)``: bytes that are written.
        settling : Settling
            Given each file that is written.

        Raises
        ------
        NmflowError
            Of the first piece that fails, in order; or in place of an OSError, for a full disk.
        """
        todo = [piece for output in self.outputs for piece in self._rest(output)]
        made = crew.in_order(work, todo, lambda piece: piece.size, ENTRIES_AT_ONCE)
        done = self.written.resumed
        with closing(made), self._noting() as note:
            for output in self.outputs:
                rest = self._rest(output)
                with self._opened(output) as (file, sealer):
                    for piece in rest:
                        tell(_label(piece, output), done)
                        note(output, piece, _written(file, sealer, piece, next(made)))
                        done += piece.stop - piece.start
                    sealer.finish(file)
                settling.begin(self.folder.out / output.name)
        return self.written

    def _rest(self, output: Output) -> list[Piece]:
        begin = self._begins[output.name]
        return [piece for piece in output.pieces if piece.start >= begin]

    @contextmanager
    def _opened(self, output: Output) -> Iterator[tuple[BinaryIO, Sealer]]:
        """The output's file, with what is good of it, and its checksums up to there."""
        path, begin = self.folder.out / output.name, self._begins[output.name]
        path.parent.mkdir(parents=True, exist_ok=True)
        sealer = Sealer(output.seals)
        if not begin:
            # Of a file that was cut to nothing some file systems write all when it is closed.
            path.unlink(missing_ok=True)
        with path.open("r+b" if begin else "x+b") as file:
            if begin:
                file.truncate(begin)
            sealer.catch_up(file, begin)
            file.seek(begin)
            yield file, sealer

    @contextmanager
    def _noting(self) -> Iterator[Callable[[Output, Piece, Made], None]]:
        """A function that notes finished layers, every second, and when something ends it."""
        notes = _Notes(self.folder.journal, self.written)
        try:
            yield notes.add
        except BaseException:
            # What takes no longer than that is not worth a folder that somebody has to remove.
            with suppress(OSError):
                if notes.settled:
                    self.folder.journal.settle()
            raise


class _Notes:
    """Layers as they are finished."""

    def __init__(self, journal: Journal, written: Written) -> None:
        self.journal, self.written = journal, written
        self.settled = bool(written.resumed)
        self._last = time.monotonic()
        self._spans: list[tuple[int, int, int]] = []
        self._parts: list[Findings] = []

    def add(self, output: Output, piece: Piece, made: Made) -> None:
        """Note a piece that is written."""
        self._spans.append((piece.start, piece.stop, made.checksum))
        if made.found is not None:
            self._parts.append(made.found)
        entry: dict[str, Any] = {"file": output.name}
        if piece.ends and piece.band is not None:
            report = self._report(piece.band.layer)
            entry["layer"] = layer_record(report)
        if self.written.sample is None and made.sample is not None:
            self.written.sample = made.sample
        if not (piece.ends or piece.stop == output.size):
            return
        if piece.ends and len(self.written.layers) == 1 and self.written.sample is not None:
            entry["sample"] = sample_record(self.written.sample)
        self.journal.add(entry | {"spans": self._spans})
        self._spans = []
        if time.monotonic() - self._last >= NOTED_EVERY:
            self.journal.settle()
            self._last, self.settled = time.monotonic(), True

    def _report(self, layer: Layer) -> LayerReport:
        report = layer_report(layer, self._parts)
        self._parts = []
        self.written.layers[layer.name] = report
        return report


def _written(file: BinaryIO, sealer: Sealer, piece: Piece, made: Made) -> Made:
    """Write a piece; what it came to, with the checksum of what was written."""
    data = sealer.pass_on(piece.start, made.data)
    write(file, data)
    checksum = made.checksum if data is made.data else zlib.crc32(data)
    return Made(None, checksum, made.found, made.sample)


def _checked(path: Path, entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the entries, from the first, whose bytes are in the file, one after the other."""
    good: list[dict[str, Any]] = []
    position = 0
    with path.open("rb") as file:
        for entry in entries:
            for start, stop, checksum in entry["spans"]:
                if start != position:
                    return good
                try:
                    data = read_bytes(file, start, stop)
                except NmflowError:
                    return good
                if zlib.crc32(data) != checksum:
                    return good
                position = stop
            good.append(entry)
    return good


def _settle(path: Path) -> None:
    with path.open("r+b") as file:
        settle(file)


def _label(piece: Piece, output: Output) -> str:
    return piece.band.layer.name if piece.band is not None else Path(output.name).name
