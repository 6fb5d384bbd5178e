"""Dask arrays: masks are lazy, and no chunk is cut through a tile.

Chunks whose boundaries cut tiles are moved to the tiles before them (``rechunk``, of the axes that
need it alone), solved, and the mask is cut up as the weights were. The unstructured pattern ranks
all entries of a matrix, so that there the axes of matrices become one chunk each: a matrix has to
fit the memory of a worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import dask.array
import numpy as np
from dask.array.utils import meta_from_array

from nmflow.errors import NmflowError
from nmflow.problem.arrays import Part, to_host
from nmflow.proof.certificate import Tally
from nmflow.sharded.whole import Each, Whole, call, chunks_at


class Pieces:
    """The chunks of a Dask array."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def stand_in(self) -> Any:
        """An array of the same shape and dtype, which holds nothing and takes no memory."""
        shape = self.weights.shape
        if any(math.isnan(length) for length in shape):
            raise NmflowError(
                f"weights of shape {shape} are a Dask array with chunks of unknown size: call"
                " compute_chunk_sizes() on it first"
            )
        return np.broadcast_to(np.zeros((), self.weights.dtype), shape)

    def masks(self, each: Each, whole: Whole, others: Mapping[str, Any]) -> Any:
        """The mask, lazily, in the chunks of the weights."""
        arrays = self._aligned(whole, others)
        found = dask.array.map_blocks(
            *(_mask_of, *arrays),
            each=_by_one_thread(each),
            names=tuple(others),
            dtype=np.bool_,
            meta=meta_from_array(self.weights, dtype=np.bool_),
        )
        return found.rechunk(self.weights.chunks)

    def tallies(self, each: Each, whole: Whole, others: Mapping[str, Any]) -> Sequence[Tally]:
        """Those of the chunks, calculated now, wherever Dask's scheduler does it."""
        arrays = self._aligned(whole, others)
        found = dask.array.map_blocks(
            *(_tally_of, *arrays),
            each=_by_one_thread(each),
            names=tuple(others),
            whole=whole,
            dtype=object,
            chunks=tuple((1,) * count for count in arrays[0].numblocks),
            meta=np.empty((0,) * self.weights.ndim, object),
        )
        return list(found.compute().ravel())

    def _aligned(self, whole: Whole, others: Mapping[str, Any]) -> list[Any]:
        """The weights, and the others, in the same chunks, which cut no tile."""
        chunks = tuple(
            tuple(np.diff(chunks_at([0, *accumulate(lengths)], step)).tolist())
            for lengths, step in zip(self.weights.chunks, whole.steps, strict=True)
        )
        return [
            self.weights.rechunk(chunks),
            *(_in_chunks(other, chunks, name) for name, other in others.items()),
        ]


def _in_chunks(other: Any, chunks: tuple[tuple[int, ...], ...], name: str) -> Any:
    if isinstance(other, dask.array.Array):
        return other.rechunk(chunks)
    return dask.array.from_array(to_host(other, name).values, chunks=chunks)


def _by_one_thread(each: Any) -> Each:
    """Dask works at several chunks at once: each has one thread, if nothing else was asked."""
    return partial(each, workers=each.keywords["workers"] or 1)


def _mask_of(block: Any, *others: Any, each: Each, names: tuple[str, ...], block_info: Any) -> Any:
    where = block_info[0]
    part = Part(tuple(where["shape"]), tuple(start for start, _ in where["array-location"]))
    return call(each, block, part, dict(zip(names, others, strict=True)))


def _tally_of(
    block: Any,
    *others: Any,
    each: Each,
    names: tuple[str, ...],
    whole: Whole,
    block_info: Any,
) -> Any:
    tally = _mask_of(block, *others, each=each, names=names, block_info=block_info)
    start = tuple(start for start, _ in block_info[0]["array-location"])
    found = np.empty((1,) * block.ndim, object)
    found[...] = whole.moved(tally, start, block.shape)
    return found
