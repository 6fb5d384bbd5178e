"""Slow, obvious solvers that every fast one is held against.

Nothing here imports nmflow but the tie tables, whose values are pinned by a test of their own.
"""

import math
from fractions import Fraction
from functools import cache
from itertools import combinations, compress, product

import numpy as np
import scipy.optimize
import scipy.sparse

from nmflow.problem.ties import TABLES, table


def exact_sum(scores, mask):
    """The kept score as a fraction."""
    return sum((Fraction(value) for value in scores[mask].tolist()), Fraction(0))


def sign_of_difference(plus, minus):
    """The sign of one exact sum less another: fsum rounds once, so its sign is the true one."""
    if plus.dtype.kind != "f":
        difference = sum(plus.tolist()) - sum(minus.tolist())
        return (difference > 0) - (difference < 0)
    try:
        difference = math.fsum([*plus.tolist(), *(-minus).tolist()])
    except OverflowError:
        difference = sum(map(Fraction, plus.tolist())) - sum(map(Fraction, minus.tolist()))
    return (difference > 0) - (difference < 0)


@cache
def feasible_masks(rows, columns, n, full):
    """Every mask a tile may have, as an array (count, rows, columns).

    ``n`` is what rows hold and what columns do, one number if they hold as many.
    """
    n, of_columns = n if isinstance(n, tuple) else (n, n)
    sizes = [n] if full else range(min(n, columns) + 1)
    choices = [
        [j in chosen for j in range(columns)]
        for size in sizes
        for chosen in combinations(range(columns), size)
    ]
    masks = np.array(list(product(choices, repeat=rows)), bool).reshape(-1, rows, columns)
    held = masks.sum(axis=1)
    return masks[((held == of_columns) if full else (held <= of_columns)).all(axis=1)]


def by_enumeration(tile, n, full, allowed=True, forced=False):
    """The mask the contract asks for, straight from its words: value, tables, then position.

    None where no mask keeps all that is forced, and of the others only what is allowed.
    """
    rows, columns = tile.shape
    tables = [table(k, rows, columns) for k in range(TABLES)]
    masks = feasible_masks(rows, columns, n, full)
    wrong = (masks & ~np.asarray(allowed)) | (forced & ~masks)
    masks = masks[~wrong.any(axis=(1, 2))]
    # Python's integers, which are as exact as fractions.
    scores = [score for row in as_integers(tile) for score in row]
    kept = [sum(compress(scores, mask)) for mask in masks.reshape(-1, tile.size).tolist()]
    most = max(kept, default=None)
    best = [mask for mask, value in zip(masks, kept, strict=True) if value == most]

    def rank(mask):
        return (*(int(t[mask].sum()) for t in tables), mask.ravel().tolist())

    return max(best, key=rank, default=None)


def as_integers(tile):
    """Scores times one power of two, as nested lists of Python integers."""
    values = [Fraction(value) for value in tile.ravel().tolist()]
    unit = max(value.denominator for value in values)
    flat = [int(value * unit) for value in values]
    return [flat[i : i + tile.shape[1]] for i in range(0, len(flat), tile.shape[1])]


def with_tie_rule(tile):
    """Integers whose optimal mask is unique and the one the tie rule names."""
    rows, columns = tile.shape
    whole = as_integers(tile)
    big = 1 << (8 + 2 * max(rows, columns))
    for k in range(TABLES):
        numbers = table(k, rows, columns).tolist()
        whole = [
            [big * s + t for s, t in zip(*pair, strict=True)]
            for pair in zip(whole, numbers, strict=True)
        ]
    last = rows * columns
    return [
        [(s << last) + (1 << (last - 1 - i * columns - j)) for j, s in enumerate(row)]
        for i, row in enumerate(whole)
    ]


def by_augmentation(scores, n, full):
    """Optimal mask of nested lists of Python integers: unit by unit along cheapest paths.

    Bellman-Ford on the textbook network (source, rows, columns, sink), nothing clever. A partial
    tile stops when another unit no longer pays.
    """
    n, of_columns = n if isinstance(n, tuple) else (n, n)
    rows, columns = len(scores), len(scores[0])
    source, sink = rows + columns, rows + columns + 1
    capacity, cost = {}, {}
    for i in range(rows):
        capacity[source, i], cost[source, i] = n, 0
        for j in range(columns):
            capacity[i, rows + j], cost[i, rows + j] = 1, -scores[i][j]
    for j in range(columns):
        capacity[rows + j, sink], cost[rows + j, sink] = of_columns, 0
    for (a, b), price in list(cost.items()):
        capacity[b, a], cost[b, a] = 0, -price
    while True:
        distance, via = {source: 0}, {}
        residual = [(a, b, price) for (a, b), price in cost.items() if capacity[a, b]]
        changed = True
        while changed:
            changed = False
            for a, b, price in residual:
                if a in distance:
                    reached = distance[a] + price
                    if b not in distance or reached < distance[b]:
                        distance[b], via[b], changed = reached, a, True
        if sink not in distance or (not full and distance[sink] > 0):
            break
        node = sink
        while node != source:
            capacity[via[node], node] -= 1
            capacity[node, via[node]] += 1
            node = via[node]
    return np.array([[capacity[i, rows + j] == 0 for j in range(columns)] for i in range(rows)])


def by_linear_programme(tiles, n, full, allowed=True, forced=False):
    """Optimal masks of a batch of integer tiles (below 2**40) by one sparse LP, through HiGHS.

    None where there are none that obey the constraints.
    """
    n, of_columns = n if isinstance(n, tuple) else (n, n)
    count, rows, columns = tiles.shape
    entry = np.arange(count * rows * columns)
    tile, i, j = np.unravel_index(entry, tiles.shape)
    lines = np.concatenate([tile * rows + i, count * rows + tile * columns + j])
    matrix = scipy.sparse.csr_array(
        (np.ones(2 * entry.size), (lines, np.concatenate([entry, entry])))
    )
    right = np.repeat([float(n), float(of_columns)], [count * rows, count * columns])
    limits = {"A_eq": matrix, "b_eq": right} if full else {"A_ub": matrix, "b_ub": right}
    bounds = np.empty((tiles.size, 2))
    bounds[:, 0] = np.broadcast_to(forced, tiles.shape).ravel()
    bounds[:, 1] = np.broadcast_to(allowed, tiles.shape).ravel()
    result = scipy.optimize.linprog(-tiles.ravel(), bounds=bounds, method="highs-ds", **limits)
    if result.status == 2:
        return None
    assert result.status == 0, result.message
    x = result.x.reshape(tiles.shape)
    assert np.abs(x - x.round()).max() < 1e-6
    return x > 0.5
