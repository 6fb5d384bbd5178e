"""Check what was written against its source, by code that shares nothing with the solver.

Both are read again from the disk and compared as bits, and entries are counted, band by band.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.checkpoint.bands import Band, bands_of
from nmflow.checkpoint.formats.file_bytes import read_bytes, reading, spans
from nmflow.checkpoint.formats.model import Model, Seal, Shard
from nmflow.checkpoint.formats.opening import open_model
from nmflow.checkpoint.formats.tensor import read_bits
from nmflow.checkpoint.layers import Layer
from nmflow.checkpoint.patterns import Patterns
from nmflow.checkpoint.pipeline import in_order
from nmflow.checkpoint.report import Failure
from nmflow.checkpoint.verifying.counting import Problem, combined, count_problems
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern

# Of bands that are read side by side, or one.
ENTRIES_AT_ONCE = 1 << 26
_SEAL_BYTES = 4

Tell = Callable[[int], None]


def verify_checkpoint(
    source: Model,
    written: Path,
    layers: Sequence[Layer],
    patterns: Patterns,
    *,
    filled: bool,
    workers: int = 1,
    tell: Tell | None = None,
) -> tuple[Failure, ...]:
    """Everything that is wrong with a written model.

    Every layer must be sparse as its pattern says, with each kept weight bit-equal to the
    source's; everything else, headers included, must be byte for byte the source's. Checksums of
    the format must be right.

    Parameters
    ----------
    source : Model
    written : Path
        A file or a folder, as the source is.
    layers : sequence of Layer
        Those that were pruned; groups are counted along their layouts' axes.
    patterns : Patterns
    filled : bool
        Whether every group of a full tile must also keep as many as it may.
    workers : int
        Threads; what is found does not depend on it.
    tell : callable, optional
        ``tell(bytes)`` as they are checked.

    Returns
    -------
    tuple of Failure
        Empty if all is well.
    """
    try:
        new = open_model(written)
    except NmflowError as error:
        return (Failure("(file)", str(error)),)
    if [(s.size, s.tensors) for s in new.shards] != [(s.size, s.tensors) for s in source.shards]:
        return (Failure("(file)", "the header differs from the source's"),)
    todo = list(_checks(source, new, layers, patterns))
    found = in_order(_Checker(filled), todo, workers, lambda check: check.size, ENTRIES_AT_ONCE)
    problems: dict[str, list[Problem]] = {}
    for check, each in zip(todo, found, strict=True):
        if tell is not None:
            tell(check.stop - check.start)
        for name, problem in each:
            problems.setdefault(name, []).append(problem)
    return failures_of(problems)


def failures_of(problems: dict[str, list[Problem]]) -> tuple[Failure, ...]:
    """Problems by tensor, those of all bands of one together."""
    return tuple(
        Failure(name, str(problem)) for name, each in problems.items() for problem in combined(each)
    )


@dataclass(frozen=True, slots=True)
class _Check:
    """A span of a file that is to be checked.

    Attributes
    ----------
    old, new : Shard
    start, stop : int
    band : Band or None
        What lies there; else it is to be as it was.
    pattern : Pattern or None
        The band's.
    seal : Seal or None
        To be that of the span; then nothing else is looked at.
    free : frozenset of int
        Where checksums stand, which are checked by themselves.
    """

    old: Shard
    new: Shard
    start: int
    stop: int
    band: Band | None = None
    pattern: Pattern | None = None
    seal: Seal | None = None
    free: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        """Roughly its entries."""
        return self.band.size if self.band else 0


def _checks(
    source: Model, new: Model, layers: Sequence[Layer], patterns: Patterns
) -> Iterator[_Check]:
    for index, pair in enumerate(zip(source.shards, new.shards, strict=True)):
        position = 0
        mine = [layer for layer in layers if layer.tensor.shard == index]
        seals = [seal for seal in pair[1].seals if _holds_any(seal, mine)]
        places = [place for seal in seals for place in seal.places]
        free = frozenset(place + offset for place in places for offset in range(_SEAL_BYTES))
        for layer in sorted(mine, key=lambda layer: layer.tensor.start):
            pattern = patterns.of(layer.name) or patterns.default
            for span in spans(position, layer.tensor.start):
                yield _Check(*pair, *span, free=free)
            for band in bands_of(layer, pattern):
                yield _Check(*pair, band.start, band.stop, band, pattern)
            position = layer.tensor.stop
        for span in spans(position, pair[0].size):
            yield _Check(*pair, *span, free=free)
        for seal in seals:
            yield _Check(*pair, seal.start, seal.stop, seal=seal)


def _holds_any(seal: Seal, layers: Sequence[Layer]) -> bool:
    tensors = [layer.tensor for layer in layers]
    return any(seal.start < tensor.stop and tensor.start < seal.stop for tensor in tensors)


@dataclass(frozen=True, slots=True)
class _Checker:
    """Finds what is wrong with a span: names of tensors, and problems."""

    filled: bool

    def __call__(self, check: _Check) -> list[tuple[str, Problem]]:
        if check.seal is not None:
            return list(_seal_problems(check, check.seal))
        if check.band is None or check.pattern is None:
            return list(_span_problems(check))
        name, band = check.band.layer.name, check.band
        with reading(check.old.path) as old, reading(check.new.path) as new:
            before, after = (
                read_bits(file, band.tensor, band.first, band.last) for file in (old, new)
            )
        kept = after != 0
        found = []
        changed = after != before
        changed &= kept
        if changed.any():
            found.append(Problem("a kept weight is not the source's, bit for bit", "bits"))
        matrices = out_in_first(kept, band)

        def possible() -> NDArray[np.bool_]:
            return out_in_first(kept | (before == 0), band)

        found += count_problems(band, matrices, possible, check.pattern, self.filled)
        return [(name, problem) for problem in found]


def out_in_first(tensor: NDArray[Any], band: Band) -> NDArray[Any]:
    """A view as matrices over axes (0, 1)."""
    axes = band.layout.matrix_axes(tensor.ndim)
    return np.moveaxis(band.layout.matrices(tensor), axes, (0, 1))


def _span_problems(check: _Check) -> Iterator[tuple[str, Problem]]:
    with reading(check.old.path) as old, reading(check.new.path) as new:
        before = read_bytes(old, check.start, check.stop)
        after = read_bytes(new, check.start, check.stop)
    if before == after:
        return
    different = np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8)
    for place in np.flatnonzero(different):
        at = check.start + int(place)
        if at not in check.free:
            tensors = check.old.tensors
            name = next((t.name for t in tensors if t.start <= at < t.stop), "(file)")
            yield name, Problem("it should be unchanged and is not", "unchanged")
            return


def _seal_problems(check: _Check, seal: Seal) -> Iterator[tuple[str, Problem]]:
    checksum = 0
    with reading(check.new.path) as file:
        for span in spans(seal.start, seal.stop):
            checksum = zlib.crc32(read_bytes(file, *span), checksum)
        written = [read_bytes(file, place, place + _SEAL_BYTES) for place in seal.places]
    if any(int.from_bytes(each, "little") != checksum for each in written):
        tensors = check.old.tensors
        name = next((t.name for t in tensors if seal.start <= t.start < seal.stop), "(file)")
        yield name, Problem("the archive's checksum of it is wrong", "seal")
