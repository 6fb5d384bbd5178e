"""Slow, obvious counts of masks, for the fast ones to be held against."""

from functools import cache
from math import comb

import numpy as np

# OEIS A008300 (Brendan McKay): m x m with n ones in each row and column, n = 0, 1, ...
A008300 = [
    [1],
    [1, 1],
    [1, 2, 1],
    [1, 6, 6, 1],
    [1, 24, 90, 24, 1],
    [1, 120, 2040, 2040, 120, 1],
    [1, 720, 67950, 297200, 67950, 720, 1],
    [1, 5040, 3110940, 68938800, 68938800, 3110940, 5040, 1],
    [1, 40320, 187530840, 24046189440, 116963796250, 24046189440, 187530840, 40320, 1],
    [1, 362880, 14398171200, 12025780892160, 315031400802720, 315031400802720, 12025780892160,
     14398171200, 362880, 1],
]  # fmt: skip


def all_matrices(rows, columns):
    """Every 0/1 matrix, shape (2**(rows * columns), rows, columns)."""
    size = rows * columns
    bits = np.arange(2**size)[:, None] >> np.arange(size)
    return (bits & 1).reshape(-1, rows, columns)


def allowed(masks, n, m, pattern):
    """Which of the matrices a pattern allows, read off its definition."""
    _, rows, columns = masks.shape
    if pattern == "unstructured":
        kept = round(n * rows * columns / m)
        return masks.sum(axis=(1, 2)) == kept
    if pattern == "columns":
        return allowed(masks.transpose(0, 2, 1), n, m, "rows")
    fine = np.ones(len(masks), bool)
    if pattern == "transposable":
        for i in range(0, rows, m):
            for j in range(0, columns, m):
                tile = masks[:, i : i + m, j : j + m]
                for axis in (1, 2):
                    held = tile.sum(axis=axis)
                    whole = tile.shape[1:] == (m, m)
                    fine &= (held == n if whole else held <= n).all(axis=1)
        return fine
    for j in range(0, columns, m):
        group = masks[:, :, j : j + m]
        held = group.sum(axis=2)
        fine &= (held == n if group.shape[2] == m else held <= n).all(axis=1)
        if pattern == "sequential":
            # A run of zeros starts where a zero has no zero before it.
            zeros = np.pad(1 - group, ((0, 0), (0, 0), (1, 0)))
            starts = ((zeros[:, :, 1:] == 1) & (zeros[:, :, :-1] == 0)).sum(axis=2)
            fine &= (starts <= 1).all(axis=1)
    return fine


def brute_force(n, m, pattern, shape):
    return int(allowed(all_matrices(*shape), n, m, pattern).sum())


def by_rows(m, n):
    """m x m matrices with n ones in each row and column, row by row, in Python's integers."""

    @cache
    def ways(rows, room):
        if rows == 0:
            return int(room[0] == m)

        def pick(level, left, choices, after):
            if level == 0:
                return choices * ways(rows - 1, after) if left == 0 else 0
            total = 0
            for k in range(min(left, room[level]) + 1):
                moved = list(after)
                moved[level] -= k
                moved[level - 1] += k
                total += pick(level - 1, left - k, choices * comb(room[level], k), tuple(moved))
            return total

        return pick(n, n, 1, room)

    return ways(m, (0,) * n + (m,))
