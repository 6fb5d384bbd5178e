"""Check a file of masks, by code that shares nothing with the solver."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmflow.checkpoint.bands import Band, bands_of, entries_a_step
from nmflow.checkpoint.formats.file_bytes import read_bytes, reading
from nmflow.checkpoint.layers import Layer
from nmflow.checkpoint.masks import PackedMask, open_masks
from nmflow.checkpoint.patterns import Patterns
from nmflow.checkpoint.pipeline import in_order
from nmflow.checkpoint.report import Failure
from nmflow.checkpoint.verifying.counting import Problem, count_problems
from nmflow.checkpoint.verifying.verify import ENTRIES_AT_ONCE, Tell, failures_of, out_in_first
from nmflow.errors import NmflowError

_BYTE = 8


def verify_masks(
    written: Path,
    layers: Sequence[Layer],
    patterns: Patterns,
    *,
    filled: bool,
    workers: int = 1,
    tell: Tell | None = None,
) -> tuple[Failure, ...]:
    """Everything that is wrong with a file of masks: as :func:`verify_checkpoint`, which see."""
    try:
        masks = open_masks(written)
    except NmflowError as error:
        return (Failure("(file)", str(error)),)
    described = [(mask.name, mask.pattern, mask.shape, mask.order) for mask in masks]
    wanted = [
        (layer.name, patterns.of(layer.name), layer.tensor.shape, layer.tensor.stored_order)
        for layer in layers
    ]
    if described != wanted:
        return (Failure("(file)", "the header is not that of the layers' masks"),)
    todo = [
        (mask, band)
        for mask, layer in zip(masks, layers, strict=True)
        for band in bands_of(layer, mask.pattern)
    ]

    def check(item: tuple[PackedMask, Band]) -> list[Problem]:
        mask, band = item
        kept = _kept(written, mask, band)
        return list(count_problems(band, kept, lambda: kept, mask.pattern, filled))

    problems: dict[str, list[Problem]] = {}
    found = in_order(check, todo, workers, lambda item: item[1].size, ENTRIES_AT_ONCE)
    for (mask, band), each in zip(todo, found, strict=True):
        if tell is not None:
            tell(band.size // _BYTE)
        problems.setdefault(mask.name, []).extend(each)
    return failures_of(problems)


def _kept(written: Path, mask: PackedMask, band: Band) -> NDArray[np.bool_]:
    """A band's mask as the file has it, as matrices over axes (0, 1)."""
    order, step = mask.order, entries_a_step(band.tensor)
    start = mask.start + band.first * step // _BYTE
    with reading(written) as file:
        packed = read_bytes(file, start, start + -(-band.size // _BYTE))
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=band.size).view(np.bool_)
    stored = [band.last - band.first, *(mask.shape[axis] for axis in order[1:])]
    return out_in_first(bits.reshape(stored).transpose(np.argsort(order)), band)
