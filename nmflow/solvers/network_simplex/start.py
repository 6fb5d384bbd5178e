"""Where the network simplex method starts: a flow by thresholds, and a tree for it."""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import helper
from nmflow.solvers.network_simplex.tree import CHILD, ROOM, Integers, Tree, hang

# Bisections per threshold of the starting flow. Measured from 4:8 to 16:32: with fewer the simplex
# pivots more, with more the start takes longer than it saves.
HALVINGS = 5


@helper
def thresholds(score: Integers, price: Integers, n: int, work: Integers, high: Integers) -> None:
    """Bisect, in all columns at once, for a value that n of ``score[:, j] - price`` exceed.

    At most n exceed ``high``, and n of them if the bisection got that far.
    """
    columns = high.size
    low, middle, count = work[0], work[1], work[2]
    for j in range(columns):
        low[j] = high[j] = score[0, j] - price[0]
    for i in range(1, price.size):
        for j in range(columns):
            low[j] = min(low[j], score[i, j] - price[i])
            high[j] = max(high[j], score[i, j] - price[i])
    for _ in range(HALVINGS):
        for j in range(columns):
            middle[j] = (low[j] + high[j]) >> 1
            count[j] = -n
        for i in range(price.size):
            for j in range(columns):
                count[j] += score[i, j] - price[i] > middle[j]
        for j in range(columns):
            if count[j] >= 0:
                low[j] = middle[j]
            if count[j] <= 0:
                high[j] = middle[j]


@helper
def fill(score: Integers, kept: Integers, tree: Tree, u: Integers, low: Integers) -> None:
    """Keep, where there is room, what no threshold told from the entries kept: mostly ties."""
    columns = low.size
    for i in range(u.size):
        row = columns + 1 + i
        for j in range(columns):
            candidate = not kept[i, j] and score[i, j] - u[i] >= low[j]
            if candidate and tree[row, ROOM] and tree[j, ROOM]:
                kept[i, j] = -1
                tree[row, ROOM] -= 1
                tree[j, ROOM] -= 1


@helper
def start(
    score: Integers,
    kept: Integers,
    potential: Integers,
    tree: Tree,
    turned: Integers,
    work: Integers,
    n: int,
    full: bool,
) -> None:
    """Set a first flow, and a strongly feasible tree of depth two for it.

    Kept is what beats its row's threshold by more than its column's, at most n a row and a column;
    where that leaves much room, ties are kept too.
    """
    columns, rows = turned.shape
    potential[:] = 0
    u, v = potential[columns + 1 : -1], potential[:columns]
    for i in range(rows):
        for j in range(columns):
            turned[j, i] = score[i, j]
    thresholds(turned, v, n, work, u)
    if not full:
        for i in range(rows):
            u[i] = max(u[i], 0)
    thresholds(score, u, n, work, v)
    for j in range(columns):
        v[j] = max(v[j], 0)
    tree[:, CHILD] = -1
    tree[:, ROOM] = n
    placed = 0
    for i in range(rows):
        taken = 0
        for j in range(columns):
            unit = np.int64(score[i, j] - u[i] > v[j])
            kept[i, j] = -unit
            tree[j, ROOM] -= unit
            taken += unit
        placed += taken
        tree[columns + 1 + i, ROOM] -= taken
        hang(tree, columns + 1 + i, columns)
    if 4 * placed < 3 * n * min(rows, columns):
        fill(score, kept, tree, u, work[0, :columns])
    for j in range(columns):
        least = -1
        if tree[j, ROOM] == 0:
            for i in range(rows):
                if kept[i, j] and (least < 0 or score[i, j] < score[least, j]):
                    least = i
        # A full column may not hang on its slack arc: nothing could flow up.
        hang(tree, j, columns + 1 + least)
