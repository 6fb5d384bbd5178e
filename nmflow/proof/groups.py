"""Certificates of the patterns whose groups don't overlap: the largest of each are an optimum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.proof.certificate import Place, Tally
from nmflow.proof.sums import exact_sum


def certify_groups(
    tally: Tally, matrix: int, scores: NDArray[Any], given: NDArray[np.bool_]
) -> None:
    """Certify one matrix under a pattern whose groups don't overlap."""
    m, name = tally.pattern.m, tally.pattern.name
    if name == "unstructured":
        _certify_equal_groups(
            tally,
            scores.reshape(1, -1),
            given.reshape(1, -1),
            tally.pattern.kept_of(scores.size),
            True,
            "matrix",
            lambda _: (matrix, (0, 0), 0),
        )
        return
    if name == "columns":
        scores, given = scores.T, given.T
    length = scores.shape[1]
    whole = length - length % m
    for start, stop, size in ((0, whole, m), (whole, length, length - whole)):
        if start == stop:
            continue

        def place(
            group: int, first: int = start // m, along: int = (stop - start) // size
        ) -> Place:
            line, step = divmod(group, along)
            tile = (line, first + step)
            return matrix, tile if name == "rows" else tile[::-1], 0

        _certify_equal_groups(
            tally,
            scores[:, start:stop].reshape(-1, size),
            given[:, start:stop].reshape(-1, size),
            tally.pattern.n,
            size == m,
            name.removesuffix("s"),
            place,
        )


def _certify_equal_groups(
    tally: Tally,
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    count: int,
    exactly: bool,
    line: str,
    place: Callable[..., Place],
) -> None:
    """Groups of equal length: an optimum keeps the ``count`` largest of each.

    In a group of a ragged edge (not ``exactly``) it keeps at most so many, and none negative.
    """
    held = mask.sum(axis=1)
    tally.check_counts(held, count, exactly, line, place)
    length = scores.shape[1]
    # The fallbacks make the comparison hold where nothing is kept, or nothing pruned.
    lowest_kept = np.where(mask, scores, scores.max(axis=1, keepdims=True)).min(axis=1)
    highest_pruned = np.where(mask, scores.min(axis=1, keepdims=True), scores).max(axis=1)
    optimal = (held == count) & (lowest_kept >= highest_pruned)
    if not exactly:
        none_pruned_pays = ~(~mask & (scores > 0)).any(axis=1)
        optimal = (optimal | (none_pruned_pays & (held <= count))) & ~(mask & (scores < 0)).any(
            axis=1
        )
    tally.count(optimal)
    order = np.argsort(scores[~optimal], axis=1)[:, max(length - count, 0) :]
    best = np.zeros(scores[~optimal].shape, np.bool_)
    np.put_along_axis(best, order, True, axis=1)
    if not exactly:
        best &= scores[~optimal] >= 0
    ours = mask[~optimal]
    tally.value += exact_sum(scores[mask])
    better, worse = scores[~optimal][best & ~ours], scores[~optimal][ours & ~best]
    tally.missed += exact_sum(better) - exact_sum(worse)
