"""Pricing and pivots of the network simplex method."""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import helper
from nmflow.solvers.network_simplex.tree import PARENT, ROOM, Integers, Tree, cut, hang, shift

# Rows that one pricing step looks at. Measured from 4:8 to 16:32: from 4 to 8 the time hardly
# depends on it, 2 is slower.
BLOCK = 4


@helper
def price_row(score: Integers, kept: Integers, potential: Integers, i: int, u: int) -> int:
    """Return the row's largest violation plus its column's index, or less than a unit."""
    best = np.int64(0)
    for j in range(score.shape[1]):
        reduced = score[i, j] - u + potential[j]
        best = max(best, ((reduced ^ kept[i, j]) - kept[i, j]) + j)
    return best


@helper
def simplex(
    score: Integers, kept: Integers, potential: Integers, tree: Tree, root: int, unit: int
) -> None:
    """Pivot until no arc violates optimality.

    Pricing takes the worst arc of the next few rows; it ends after a clean round.
    """
    rows = score.shape[0]
    i = clean = 0
    while clean < rows:
        best, at = unit - 1, 0
        for _ in range(min(BLOCK, rows)):
            found = price_row(score, kept, potential, i, potential[root + 1 + i])
            if found > best:
                best, at = found, i
            i = i + 1 if i + 1 < rows else 0
        clean += BLOCK
        if best >= unit:
            clean = 0
            column = best & (unit - 1)
            row = root + 1 + at if root + 1 + at < tree.shape[0] else root
            if kept[at, column]:
                pivot(kept, potential, tree, root, column, row, best - column)
            else:
                pivot(kept, potential, tree, root, row, column, best - column)


@helper
def pivot(
    kept: Integers, potential: Integers, tree: Tree, root: int, give: int, take: int, gain: int
) -> None:
    """Bring in the arc that takes a unit from ``give`` to ``take`` and earns ``gain``."""
    node = last = below = take
    while node != give and node != root:
        below, last = last, node
        node = tree[node, PARENT]
    loose = tree[give, PARENT] == root and (give < root or tree[give, ROOM] > 0)
    if node != give and not loose:
        cut(tree, give)
        hang(tree, give, take)
        shift(tree, potential, give, gain)
        return
    flip(kept, root, give, take)
    if node == root:
        # Of the slack arcs on the way, only that of a column now full stops the flow.
        if give == root:
            tree[take, ROOM] += 1
        else:
            tree[give, ROOM] += 1 if give < root else -1
        tree[last, ROOM] += 1 if last > root else -1
        if last > root or tree[last, ROOM] > 0:
            if last == take:
                return  # the entering arc itself is the last to block
            last = below
    turn(kept, tree, root, give, take, last)
    shift(tree, potential, take, -gain)


@helper
def turn(kept: Integers, tree: Tree, root: int, give: int, take: int, last: int) -> None:
    """Hang the path ``take`` .. ``last`` upside down below ``give``; its arcs change state."""
    node, parent = take, give
    while True:
        above = tree[node, PARENT]
        flip(kept, root, node, above)
        cut(tree, node)
        hang(tree, node, parent)
        if node == last:
            return
        node, parent = above, node


@helper
def flip(kept: Integers, root: int, a: int, b: int) -> None:
    """Change the state of the arc between two nodes; slack arcs keep theirs in ``ROOM``."""
    row, column = max(a, b), min(a, b)
    if column < root < row:
        kept[row - root - 1, column] ^= -1
