"""The approximate methods straight from their definitions: slow and obvious."""

import math

import numpy as np


def descending(tile):
    """Entries from the heaviest on, of equals the first in row-major order."""
    rows, columns = tile.shape
    entries = [(i, j) for i in range(rows) for j in range(columns)]
    return sorted(entries, key=lambda e: (-float(tile[e]), e))


def greedy(tile, n, full):
    rows, columns = tile.shape
    kept = np.ones(tile.shape, bool)
    for i, j in reversed(descending(tile)):
        row_owes = (~kept[i]).sum() < columns - n
        column_owes = (~kept[:, j]).sum() < rows - n
        if row_owes or column_owes or (not full and tile[i, j] < 0):
            kept[i, j] = False
    return kept


def greedy_keep(tile, n, full):
    kept = np.zeros(tile.shape, bool)
    for i, j in descending(tile):
        if full or tile[i, j] >= 0:
            kept[i, j] = kept[i].sum() < n and kept[:, j].sum() < n
    return kept


def local_search(tile, n, full):
    kept = greedy_keep(tile, n, full)
    exponent = math.frexp(np.abs(tile).max())[1]
    scores = tile.astype(float) * math.ldexp(1.0, max(-1000, min(1000, -exponent)))
    allowed = full | (tile >= 0)
    fill(scores, kept, allowed, n, full)
    while improve(scores, kept, allowed) and not full and fill(scores, kept, allowed, n, full):
        pass
    return kept


def fill(s, kept, allowed, n, full):
    """Insert what fits, else the best insert-swap of the first under-full row and column."""
    rows, columns = s.shape
    moved = False
    while True:
        free = kept.sum(1) < n, kept.sum(0) < n
        entries = [
            (i, j)
            for i, j in zip(*np.nonzero(free[0][:, None] & free[1][None, :]), strict=True)
            if not kept[i, j] and allowed[i, j]
        ]
        if entries:
            kept[max(entries, key=lambda e: (s[e], -e[0], -e[1]))] = True
        elif not any(
            insert_swap(s, kept, allowed, i, j, full)
            for i in range(rows)
            for j in range(columns)
            if free[0][i] and free[1][j]
        ):
            return moved
        moved = True


def insert_swap(s, kept, allowed, i, j, full):
    swaps = [
        (s[i, q] + s[p, j] - s[p, q], -p, -q)
        for p, q in zip(*np.nonzero(kept), strict=True)
        if not kept[i, q] and not kept[p, j] and allowed[i, q] and allowed[p, j]
    ]
    assert swaps or not full
    if not swaps or (not full and max(swaps)[0] <= 0):
        return False
    _, p, q = max(swaps)
    kept[-p, -q], kept[i, -q], kept[-p, j] = False, True, True
    return True


def improve(s, kept, allowed):
    """Exchange between pairs of rows until no exchange gains."""
    rows, moved, again = len(s), False, True
    while again:
        again = False
        for i in range(rows):
            for p in range(i):
                while exchange(s, kept, allowed, i, p):
                    again = moved = True
    return moved


def exchange(s, kept, allowed, i, p):
    def best_trade(into, out_of):
        columns = np.nonzero(kept[out_of] & ~kept[into] & allowed[into])[0]
        return max(((s[into, q] - s[out_of, q], -q) for q in columns), default=(-np.inf, 0))

    there, back = best_trade(i, p), best_trade(p, i)
    if not there[0] > -back[0]:
        return False
    kept[i, -there[1]], kept[p, -there[1]] = True, False
    kept[p, -back[1]], kept[i, -back[1]] = True, False
    return True
