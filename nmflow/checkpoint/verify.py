"""Check a written file against its source, by code that shares nothing with the solver.

Both files are read again from the disk and compared as bits; entries are counted with
``numpy.add.reduceat``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nmflow.checkpoint.formats.file_bytes import read_bytes, spans
from nmflow.checkpoint.formats.model import Model
from nmflow.checkpoint.formats.safetensors_file import read_safetensors
from nmflow.checkpoint.formats.tensor import Tensor, read_bits
from nmflow.checkpoint.layers import Layer
from nmflow.checkpoint.pipeline import in_order
from nmflow.checkpoint.report import Failure
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern

# Of tensors that are read side by side, or one.
_ENTRIES_AT_ONCE = 1 << 26
_AXIS_NAMES = ("column", "row")


def verify_checkpoint(
    source: Model,
    written: Path,
    layers: Sequence[Layer],
    pattern: Pattern,
    *,
    filled: bool,
    workers: int = 1,
) -> tuple[Failure, ...]:
    """Everything that is wrong with a written file.

    Every layer must be sparse as the pattern says, with each kept weight bit-equal to the
    source's; everything else, the header included, must be byte for byte the source's.

    Parameters
    ----------
    source : Model
    written : Path
    layers : sequence of Layer
        Those that were pruned; groups are counted along their layouts' axes.
    pattern : Pattern
    filled : bool
        Whether every group of a full tile must also keep as many as it may.
    workers : int
        Threads; what is found does not depend on it.

    Returns
    -------
    tuple of Failure
        Empty if all is well.
    """
    try:
        read_safetensors(written)
    except NmflowError as error:
        return (Failure("(file)", str(error)),)
    pruned = {layer.name: layer for layer in layers}

    def check(tensor: Tensor) -> list[Failure]:
        with source.path.open("rb") as old, written.open("rb") as new:
            if tensor.name in pruned:
                problems = _layer_problems(old, new, pruned[tensor.name], pattern, filled)
            else:
                same = _same_bytes(old, new, tensor.start, tensor.stop)
                problems = iter(() if same else ("it should be unchanged and is not",))
            return [Failure(tensor.name, problem) for problem in problems]

    with source.path.open("rb") as old, written.open("rb") as new:
        if not _same_bytes(old, new, 0, source.shards[0].tensors[0].start):
            return (Failure("(file)", "the header differs from the source's"),)
    found = in_order(check, source.tensors, workers, lambda tensor: tensor.size, _ENTRIES_AT_ONCE)
    return tuple(chain.from_iterable(found))


def _same_bytes(old: BinaryIO, new: BinaryIO, start: int, stop: int) -> bool:
    return all(read_bytes(old, *span) == read_bytes(new, *span) for span in spans(start, stop))


def _layer_problems(
    old: BinaryIO, new: BinaryIO, layer: Layer, pattern: Pattern, filled: bool
) -> Iterator[str]:
    before, after = (_out_in_first(read_bits(file, layer.tensor), layer) for file in (old, new))
    kept = after != 0
    if not np.array_equal(after[kept], before[kept]):
        yield "a kept weight is not the source's, bit for bit"
    # A zero of the source may be kept or pruned: the file can't tell. It counts as pruned where
    # there may be too many, and as kept where there may be too few.
    possible = kept | (before == 0)
    if pattern.name == "unstructured":
        yield from _count_problems(kept, possible, pattern)
        return
    for axis in (0, 1):
        if pattern.name in ("transposable", ("columns", "rows")[axis]):
            yield from _group_problems(kept, possible, pattern, axis, filled)


def _out_in_first(tensor: NDArray[Any], layer: Layer) -> NDArray[Any]:
    """A view as matrices over axes (0, 1)."""
    axes = layer.layout.matrix_axes(tensor.ndim)
    return np.moveaxis(layer.layout.matrices(tensor), axes, (0, 1))


def _count_problems(
    kept: NDArray[np.bool_], possible: NDArray[np.bool_], pattern: Pattern
) -> Iterator[str]:
    """Each matrix, over axes (0, 1), keeps round(n/m * size)."""
    wanted = pattern.kept_of(kept.shape[0] * kept.shape[1])
    low, high = kept.sum(axis=(0, 1)), possible.sum(axis=(0, 1))
    if (low > wanted).any() or (high < wanted).any():
        yield f"a matrix does not keep {wanted} weights ({low.max()} are not zero)"


def _group_problems(
    kept: NDArray[np.bool_],
    possible: NDArray[np.bool_],
    pattern: Pattern,
    axis: int,
    filled: bool,
) -> Iterator[str]:
    """No group along the axis holds more than n; those of full tiles can hold n."""
    n, m, name = pattern.n, pattern.m, _AXIS_NAMES[axis]
    counts = _counts(kept, m, axis)
    over = np.argwhere(counts > n)
    if len(over):
        where = tuple(map(int, over[0]))
        yield (
            f"{len(over)} {name} groups keep more than {n} of {m};"
            f" the first, at {where}, keeps {counts[where]}"
        )
    if not filled:
        return
    rows, columns = (size - size % m for size in kept.shape[:2])
    under = np.argwhere(_counts(possible[:rows, :columns], m, axis) < n)
    if len(under):
        where = tuple(map(int, under[0]))
        yield f"{len(under)} {name} groups keep fewer than {n} of {m}; the first is at {where}"


def _counts(kept: NDArray[np.bool_], m: int, axis: int) -> NDArray[Any]:
    """True entries in each group of m along the axis, the ragged last one included."""
    starts = np.arange(0, kept.shape[axis], m)
    counts: NDArray[Any] = np.add.reduceat(kept, starts, axis=axis, dtype=np.intp)
    return counts
