"""Exact masks under constraints where groups don't overlap: the largest of what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.constraints import Constraints, check_scores
from nmflow.solvers.selection import select_mask


def select_within(batch: MatrixBatch, index: int, constraints: Constraints) -> NDArray[np.bool_]:
    """The optimal mask of a matrix for ``rows``, ``columns`` or ``unstructured``.

    Raises
    ------
    NmflowError
        For a group with more forced entries than it may hold; and for one with fewer allowed
        entries than it should hold, but where the pattern takes ``at_most``.
    """
    pattern = batch.pattern
    scores = check_scores(batch.scores((slice(index, index + 1),))[0], batch)
    allowed, forced = constraints.allowed[index], constraints.forced[index]
    bounded = np.where(forced, np.inf, np.where(allowed, scores, -np.inf))
    mask = select_mask(bounded, pattern)
    _raise_where(forced & ~mask, batch, index, "has more forced entries than it may: force fewer")
    beyond = mask & ~allowed
    if not beyond.any():
        return mask
    if not pattern.at_most:
        what = "has too few allowed entries: allow more, or pass at_most=True"
        _raise_where(beyond, batch, index, what)
    # A group that can't be filled keeps no negative score that need not be kept.
    unfilled = _of_groups(beyond, pattern.name, pattern.m)
    kept: NDArray[np.bool_] = mask & allowed & ~(unfilled & (scores < 0) & ~forced)
    return kept


def _of_groups(marked: NDArray[np.bool_], name: str, m: int) -> NDArray[np.bool_]:
    """All entries of the groups of which some entry is marked."""
    if name == "columns":
        return _of_groups(marked.T, "rows", m).T
    if name == "unstructured":
        return np.broadcast_to(marked.any(), marked.shape)
    starts = np.arange(0, marked.shape[1], m)
    of_group = np.logical_or.reduceat(marked, starts, axis=1)
    whole: NDArray[np.bool_] = np.repeat(of_group, m, axis=1)[:, : marked.shape[1]]
    return whole


def _raise_where(odd: NDArray[Any], batch: MatrixBatch, index: int, what: str) -> None:
    if not odd.any():
        return
    row, column = (int(i) for i in np.argwhere(odd)[0])
    m, name = batch.pattern.m, batch.pattern.name
    where = {
        "rows": f"entries {column // m * m} to {column // m * m + m - 1} of row {row}",
        "columns": f"entries {row // m * m} to {row // m * m + m - 1} of column {column}",
        "unstructured": "all of it",
    }[name]
    raise NmflowError(f"{batch.what}: in matrix {index} the group of {where} {what}")
