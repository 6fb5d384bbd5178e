"""Certificates under constraints of the patterns whose groups don't overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.constraints import Constraints, check_scores
from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import Place, Tally, Violation
from nmflow.proof.sums import exact_sum


class _Groups(NamedTuple):
    """Groups of equal length: arrays (G, length), what each holds, and where the first ones are."""

    parts: tuple[NDArray[Any], ...]
    holds: int
    exactly: bool
    first: int
    along: int


def certify_groups_within(
    tally: Tally,
    matrix: int,
    batch: MatrixBatch,
    given: NDArray[np.bool_],
    constraints: Constraints,
) -> None:
    """Certify one matrix.

    Raises
    ------
    NmflowError
        For a group of which no choice obeys the constraints.
    """
    scores = batch.scores((slice(matrix, matrix + 1),))[0]
    check_scores(scores, batch)
    parts = scores, given, constraints.allowed[matrix], constraints.forced[matrix]
    for groups in _groups_of(tally.pattern, parts):
        _certify(tally, matrix, batch, groups)


def _groups_of(pattern: Pattern, parts: tuple[NDArray[Any], ...]) -> Iterator[_Groups]:
    """The whole groups of a matrix, then those of its ragged edge."""
    if pattern.name == "unstructured":
        flat = tuple(part.reshape(1, -1) for part in parts)
        yield _Groups(flat, pattern.kept_of(parts[0].size), True, 0, 1)
        return
    if pattern.name == "columns":
        parts = tuple(part.T for part in parts)
    length, m = parts[0].shape[1], pattern.m
    whole = length - length % m
    for start, stop, size in ((0, whole, m), (whole, length, length - whole)):
        if start < stop:
            cut = tuple(np.ascontiguousarray(p[:, start:stop]).reshape(-1, size) for p in parts)
            yield _Groups(cut, pattern.n, size == m, start // m, (stop - start) // size)


def _certify(tally: Tally, matrix: int, batch: MatrixBatch, groups: _Groups) -> None:
    scores, mask, allowed, forced = groups.parts
    name, count = tally.pattern.name, groups.holds

    def place(group: int, _: int = 0) -> Place:
        if name == "unstructured":
            return matrix, (0, 0), 0
        line, step = divmod(group, groups.along)
        tile = (line, groups.first + step)
        return matrix, tile if name == "rows" else tile[::-1], 0

    held = mask.sum(axis=1)
    fillable = groups.exactly & (allowed.sum(axis=1) >= count)
    wrong = forced.sum(axis=1) > count
    if groups.exactly and not tally.pattern.at_most:
        wrong |= ~fillable
    if wrong.any():
        where = place(int(wrong.argmax()))[1]
        raise NmflowError(
            f"{batch.what}: no choice of group {where} of matrix {matrix} obeys within and keep:"
            " allow more, force fewer, or pass at_most=True"
        )
    line = "matrix" if name == "unstructured" else name.removesuffix("s")
    tally.check_counts(held[:, None], count, fillable[:, None], line, lambda g, _: place(g))
    forbidden, missing = mask & ~allowed, forced & ~mask
    for kind, odd in (("forbidden", forbidden), ("forced", missing)):
        for group in np.flatnonzero(odd.any(axis=1)).tolist():
            due = int(forced[group].sum()) if kind == "forced" else 0
            wrongs = int(odd[group].sum())
            found = due - wrongs if kind == "forced" else wrongs
            tally.over.append(Violation(*place(group)[:2], kind, 0, found, due))
    best = _largest(scores, allowed, forced, count, fillable)
    # Choices of the same number of a group are worth the same only if their scores are the same.
    kept, most = (np.sort(np.where(part, scores, 0.0), axis=1) for part in (mask, best))
    obeys = ~(forbidden | missing).any(axis=1) & (np.where(fillable, held == count, held <= count))
    tally.count(obeys & np.all(kept == most, axis=1))
    value = exact_sum(scores[mask])
    tally.value += value
    tally.missed += exact_sum(scores[best]) - value


def _largest(
    scores: NDArray[Any],
    allowed: NDArray[np.bool_],
    forced: NDArray[np.bool_],
    count: int,
    fillable: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The best choice of each group: the largest of what is allowed, none worthless if at most."""
    usable = forced | (allowed & (fillable[:, None] | (scores >= 0)))
    bounded = np.where(forced, np.inf, np.where(usable, scores, -np.inf))
    order = np.argsort(bounded, axis=1)[:, max(scores.shape[1] - count, 0) :]
    best = np.zeros(scores.shape, np.bool_)
    np.put_along_axis(best, order, True, axis=1)
    return best & usable
