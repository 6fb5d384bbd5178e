"""Exact masks where groups don't overlap: keep the largest of each group.

Of equal scores the earlier in row-major order is kept first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.pattern import Pattern


def select_mask(scores: NDArray[Any], pattern: Pattern) -> NDArray[np.bool_]:
    """The optimal mask of one matrix for ``rows``, ``columns`` or ``unstructured``.

    Parameters
    ----------
    scores : ndarray, shape (R, C)
    pattern : Pattern
        Groups shorter than m (a ragged edge) keep at most n and no negative score.

    Returns
    -------
    ndarray of bool, shape (R, C)
    """
    if pattern.name == "columns":
        return select_groups(scores.T, pattern.n, pattern.m).T
    if pattern.name == "rows":
        return select_groups(scores, pattern.n, pattern.m)
    return select_largest(scores, pattern.kept_of(scores.size))


def select_groups(scores: NDArray[Any], n: int, m: int) -> NDArray[np.bool_]:
    """The n largest of every m consecutive entries of each row."""
    rows, columns = scores.shape
    mask = np.empty(scores.shape, np.bool_)
    whole = columns - columns % m
    groups = scores[:, :whole].reshape(-1, m)
    mask[:, :whole] = keep_largest(groups, n).reshape(rows, whole)
    edge = scores[:, whole:]
    mask[:, whole:] = keep_largest(edge, min(n, columns - whole)) & (edge >= 0)
    return mask


def keep_largest(groups: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """The ``count`` largest of each row, the earlier of equals first."""
    # A stable ascending sort of the reversed row puts the earlier of equals nearer the end.
    order = groups.shape[1] - 1 - np.argsort(groups[:, ::-1], axis=1, kind="stable")
    mask = np.zeros(groups.shape, np.bool_)
    np.put_along_axis(mask, order[:, groups.shape[1] - count :], True, axis=1)
    return mask


def select_largest(scores: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """The ``count`` largest of all entries, by one partition instead of a sort."""
    flat = scores.ravel()
    if not count:
        return np.zeros(scores.shape, np.bool_)
    smallest_kept = np.partition(flat, flat.size - count)[flat.size - count]
    mask: NDArray[np.bool_] = flat > smallest_kept
    ties = np.flatnonzero(flat == smallest_kept)
    mask[ties[: count - int(mask.sum())]] = True
    return mask.reshape(scores.shape)
