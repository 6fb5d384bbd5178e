"""How much score a layer has, and how much of it each pattern's best mask would keep.

Where groups don't overlap no mask is needed for that: the largest of each group, and which they are
is left to a partial selection, in no order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nmflow
from nmflow.checkpoint.formats.file_bytes import spans
from nmflow.problem.batch import as_matrices
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName, scores_of

_BLOCK_ENTRIES = 1 << 20
# Of what is only added up: so many stay in a core's own cache.
_SUMMED_ENTRIES = 1 << 16


def total_score(weights: NDArray[Any], score: ScoreName) -> float:
    """The sum of all positive scores: the most that a mask could keep.

    Added in float64 and in pieces: float16 would overflow, and a float64 copy of a layer may be
    large.
    """
    flat = weights.reshape(-1)
    parts = spans(0, flat.size, _SUMMED_ENTRIES)
    return math.fsum(_positive_sum(flat[slice(*span)], score) for span in parts)


def _positive_sum(values: NDArray[Any], score: ScoreName) -> float:
    if score == "abs":
        return float(np.abs(values).sum(dtype=np.float64))
    scores = _wide_scores(values, score)
    return float(scores.sum(where=scores > 0) if score == "raw" else scores.sum())


def optimal_value(
    matrices: NDArray[Any], pattern: Pattern, axes: tuple[int, int], score: ScoreName, workers: int
) -> float:
    """What the pattern's best mask keeps of finite weights.

    Parameters
    ----------
    matrices, axes, score, workers
        As for :func:`nmflow.solve`.
    pattern : Pattern
    """
    if pattern.name == "transposable":
        mask = nmflow.solve(
            *(matrices, pattern.n, pattern.m), axes=axes, score=score, workers=workers
        )
        return _kept_score(matrices, mask, score)
    batch = as_matrices(matrices, axes)
    tops: Iterator[NDArray[np.floating]]
    if pattern.name == "unstructured":
        tops = (_largest(each.reshape(1, -1), pattern.kept_of(each.size), score) for each in batch)
    else:
        lines = batch if pattern.name == "rows" else batch.swapaxes(1, 2)
        tops = _of_groups(lines.reshape(-1, lines.shape[2]), pattern, score)
    return math.fsum(float(top.sum(dtype=np.float64)) for top in tops)


def _of_groups(
    lines: NDArray[Any], pattern: Pattern, score: ScoreName
) -> Iterator[NDArray[np.floating]]:
    """The n largest scores of every m of each line; of a shorter last group, no negative ones."""
    n, m = pattern.n, pattern.m
    count, length = lines.shape
    whole = length - length % m
    for start, stop in spans(0, count, max(1, _BLOCK_ENTRIES // length)):
        block = lines[start:stop]
        yield _largest(block[:, :whole].reshape(-1, m), n, score)
        edge = _largest(block[:, whole:], min(n, length - whole), score)
        yield np.maximum(edge, 0)


def _largest(groups: NDArray[Any], count: int, score: ScoreName) -> NDArray[np.floating]:
    """The largest scores of each row, in no order."""
    # numpy selects slowly among float16.
    scores = scores_of(groups, score)
    first = scores.shape[1] - count
    if 0 < first < scores.shape[1]:
        scores.partition(first, axis=1)
    top: NDArray[np.floating] = scores[:, first:]
    return top


def _kept_score(matrices: NDArray[Any], mask: NDArray[np.bool_], score: ScoreName) -> float:
    flat, kept = matrices.reshape(-1), mask.reshape(-1)
    return math.fsum(
        float(_wide_scores(flat[start:stop], score).sum(where=kept[start:stop]))
        for start, stop in _spans(flat.size)
    )


def _spans(size: int) -> list[tuple[int, int]]:
    return spans(0, size, _BLOCK_ENTRIES)


def _wide_scores(values: NDArray[Any], score: ScoreName) -> NDArray[np.float64]:
    scores = values.astype(np.float64)
    if score == "abs":
        np.abs(scores, out=scores)
    elif score == "square":
        np.square(scores, out=scores)
    return scores
