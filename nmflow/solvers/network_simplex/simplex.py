"""``network-simplex`` on a batch of tiles; ``method.py`` beside it tells the method.

Interpreted, the same source gives the same results. Names that recur: ``score``, multiples of
``unit``, a power of two above any column's index; ``kept``, -1 where an arc carries its unit and 0
elsewhere, so that ``(x ^ kept) - kept`` turns the sign of a reduced cost; ``potential``, u of a
row, -v of a column, 0 of the root, and a last 0 for the slack row. On a ragged tile ``score`` and
``kept`` have one more row and one more column: the slack arcs, whose other end is the root, and an
empty corner.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.solvers.network_simplex.digits import load, magnitude, undecided
from nmflow.solvers.network_simplex.pivots import simplex
from nmflow.solvers.network_simplex.start import start
from nmflow.solvers.network_simplex.tree import FIELDS, Integers, Tree, settle


@helper
def solve_one(
    score: Integers,
    kept: Integers,
    potential: Integers,
    tree: Tree,
    turned: Integers,
    work: Integers,
    words: Integers,
    n: int,
    full: bool,
    kind: int,
    unit: int,
) -> int:
    """Leave an optimal flow in ``kept``, a basis in ``tree``; return the scores' magnitude."""
    root, rows = turned.shape
    cycle = root + rows + 1
    # A potential sums up to 2 cycle scores (half of them as the price of an artificial arc), a
    # reduced cost two potentials and a score.
    first = 62
    while (4 * cycle + 1) * unit >> (62 - first):
        first -= 1
    digits = first
    while (cycle + 1) >> (first - digits):
        digits -= 1
    top = magnitude(words, kind)
    exponent = first - top
    below = load(score, potential, unit, words, kind, exponent, first, 0)
    start(score, kept, potential, tree, turned, work, n, full)
    # An augmenting path has fewer than ``cycle`` arcs, each worth less than 2**first either way.
    slack = -(cycle << first) * unit if full else 0
    while True:
        settle(tree, root, score, slack, 1, potential)
        simplex(score, kept, potential, tree, root, unit)
        if not below or not undecided(score, potential, tree, root, cycle * unit):
            return top
        # From here on the artificial arcs of a full tile carry nothing and may earn 0.
        slack = 0
        exponent += digits
        below = load(score, potential, unit, words, kind, exponent, digits, cycle)


@compile_kernel
def solve_batch(
    scores: Any, words: Integers, n: int, full: bool, kind: int, mask: Any, u: Any, v: Any
) -> None:
    """Solve each tile, in storage made once."""
    count, rows, columns = words.shape
    height, width = (rows, columns) if full else (rows + 1, columns + 1)
    nodes = rows + columns + 1
    unit = 1
    while unit < width:
        unit *= 2
    score = np.zeros((height, width), np.int64)
    kept = np.zeros((height, width), np.int64)
    potential = np.zeros(nodes + 1, np.int64)
    tree = np.full((nodes, FIELDS), -1, np.int32)
    turned = np.empty((columns, rows), np.int64)
    work = np.empty((3, max(rows, columns)), np.int64)
    exact = np.empty(nodes, np.float64)
    for t in range(count):
        top = solve_one(score, kept, potential, tree, turned, work, words[t], n, full, kind, unit)
        # Near float64's limit an alternating sum may overflow on its way to a finite value.
        factor = 2.0**-16 if top > 1000 else 1.0
        settle(tree, columns, scores[t], 0.0, factor, exact)
        for i in range(rows):
            for j in range(columns):
                mask[t, i, j] = kept[i, j] != 0
            u[t, i] = exact[columns + 1 + i] / factor
        for j in range(columns):
            v[t, j] = -exact[j] / factor
