"""The residual network of one tile, in integers as wide as its scores need.

Nodes: rows 0 ... r-1, columns r ... r+c-1, and the slack node r+c. A unit too many is at a column
that holds more than n, or at a row that holds less. Pruning a kept entry (i, j) moves it from
column j to row i, at the cost s_ij - u_i - v_j; keeping a pruned one moves it from row i to column
j, at u_i + v_j - s_ij. With prices that obey complementary slackness, no cost is negative. On a
partial tile the slack node takes units that rows do without, at their price, and gives units to
columns, at theirs; with rows and columns that have room, whose price is 0, it does the reverse too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper
from nmflow.compiling.structs import Struct
from nmflow.proof.exact.limbs import MOST_LIMBS, add, clear, copy, is_less, sign, subtract

UNREACHED, REACHED, FINAL = 0, 1, 2
_TEMPORARIES = 2


class Network(Struct):
    """Memory for a tile of r x c.

    Attributes
    ----------
    numbers : ndarray of int64
        Scores, prices of the nodes, their distances, and two temporary ones; see :mod:`limbs`.
    given, kept : ndarray of uint8, shape (r, c)
        The mask that was given, and what is kept.
    held : ndarray of int64, shape (r + c,)
        What rows and columns hold.
    state, before : ndarray of int64, shape (r + c + 1,)
        Whether a node's distance is known, and from which node it is.
    """

    numbers: NDArray[np.int64]
    given: NDArray[np.uint8]
    kept: NDArray[np.uint8]
    held: NDArray[np.int64]
    state: NDArray[np.int64]
    before: NDArray[np.int64]

    @classmethod
    def of(cls, tile: tuple[int, int]) -> Network:
        """For any numbers; memory that is not needed is not touched."""
        rows, columns = tile
        nodes = rows + columns + 1
        return cls(
            np.empty((rows * columns + 2 * nodes + _TEMPORARIES) * MOST_LIMBS, np.int64),
            np.empty(tile, np.uint8),
            np.empty(tile, np.uint8),
            np.empty(nodes - 1, np.int64),
            np.empty(nodes, np.int64),
            np.empty(nodes, np.int64),
        )


@helper
def score_at(net, limbs, i, j):
    """Where the score of an entry is."""
    return (i * net.kept.shape[1] + j) * limbs


@helper
def price_at(net, limbs, node):
    """Where the price of a row or column is."""
    return (net.kept.size + node) * limbs


@helper
def distance_at(net, limbs, node):
    """Where the distance of a node is."""
    return (net.kept.size + net.state.size + node) * limbs


@helper
def temporary_at(net, limbs, k):
    """Where a temporary number is."""
    return (net.kept.size + 2 * net.state.size + k) * limbs


@helper
def set_margin(net, limbs, i, j, result):
    """Set a number to what an entry's score exceeds its price by."""
    subtract(net.numbers, limbs, result, score_at(net, limbs, i, j), price_at(net, limbs, i))
    column = price_at(net, limbs, net.kept.shape[0] + j)
    subtract(net.numbers, limbs, result, result, column)


@helper
def count_held(kept, held):
    """Count what rows and columns hold."""
    rows, columns = kept.shape
    held[:] = 0
    for i in range(rows):
        for j in range(columns):
            held[i] += kept[i, j]
            held[rows + j] += kept[i, j]


@helper
def capacity(net, node, n):
    """What a row or column may hold at most."""
    return n[0] if node < net.kept.shape[0] else n[1]


@helper
def proves(net, limbs, mask, n, full):
    """Whether the prices prove a mask optimal: complementary slackness, see the checker."""
    rows, columns = net.kept.shape
    count_held(mask, net.held)
    for node in range(rows + columns):
        price = sign(net.numbers, limbs, price_at(net, limbs, node))
        room = capacity(net, node, n) - net.held[node]
        if room < 0 or (full and room > 0) or (not full and (price < 0 or (room > 0 < price))):
            return False
    margin = temporary_at(net, limbs, 0)
    for i in range(rows):
        for j in range(columns):
            set_margin(net, limbs, i, j, margin)
            side = sign(net.numbers, limbs, margin)
            if side < 0 if mask[i, j] else side > 0:
                return False
    return True


@helper
def improve(net, limbs, node, candidate, before):
    """Take the candidate for the distance of a node if it is shorter."""
    here = distance_at(net, limbs, node)
    if net.state[node] == UNREACHED or is_less(net.numbers, limbs, candidate, here):
        copy(net.numbers, limbs, here, candidate)
        net.state[node] = REACHED
        net.before[node] = before


@helper
def relax_from_column(net, limbs, j, n, full):
    """Shorten the ways from a column: to rows whose kept entries it drops, to the slack node."""
    x, rows = net.numbers, net.kept.shape[0]
    node = rows + j
    base, candidate = temporary_at(net, limbs, 0), temporary_at(net, limbs, 1)
    here, price = distance_at(net, limbs, node), price_at(net, limbs, node)
    subtract(x, limbs, base, here, price)
    for i in range(rows):
        if net.kept[i, j] and net.state[i] != FINAL:
            add(x, limbs, candidate, base, score_at(net, limbs, i, j))
            subtract(x, limbs, candidate, candidate, price_at(net, limbs, i))
            improve(net, limbs, i, candidate, node)
    slack = net.state.size - 1
    if not full and net.held[node] < n[1] and net.state[slack] != FINAL:
        improve(net, limbs, slack, here, node)


@helper
def relax_from_row(net, limbs, i, full):
    """Shorten the ways from a row: to columns whose pruned entries it adds, to the slack node."""
    x = net.numbers
    rows, columns = net.kept.shape
    base, candidate = temporary_at(net, limbs, 0), temporary_at(net, limbs, 1)
    add(x, limbs, base, distance_at(net, limbs, i), price_at(net, limbs, i))
    for j in range(columns):
        node = rows + j
        if not net.kept[i, j] and net.state[node] != FINAL:
            add(x, limbs, candidate, base, price_at(net, limbs, node))
            subtract(x, limbs, candidate, candidate, score_at(net, limbs, i, j))
            improve(net, limbs, node, candidate, i)
    slack = net.state.size - 1
    if not full and net.state[slack] != FINAL:
        improve(net, limbs, slack, base, i)


@helper
def relax_from_slack(net, limbs, n):
    """Shorten the ways from the slack node: to rows with room, to columns at their price."""
    x, rows = net.numbers, net.kept.shape[0]
    slack = net.state.size - 1
    here, candidate = distance_at(net, limbs, slack), temporary_at(net, limbs, 1)
    for node in range(slack):
        if net.state[node] == FINAL:
            continue
        price = price_at(net, limbs, node)
        if node >= rows:
            add(x, limbs, candidate, here, price)
            improve(net, limbs, node, candidate, slack)
        elif net.held[node] < n[0] and sign(x, limbs, price) == 0:
            improve(net, limbs, node, here, slack)


@helper
def nearest(net, limbs):
    """The nearest node whose distance is not final yet; -1 if there is none."""
    best = -1
    for node in range(net.state.size):
        if net.state[node] == REACHED and (
            best < 0
            or is_less(
                net.numbers, limbs, distance_at(net, limbs, node), distance_at(net, limbs, best)
            )
        ):
            best = node
    return best


@helper
def start_from(net, limbs, node):
    """Make a node one that paths begin at."""
    clear(net.numbers, limbs, distance_at(net, limbs, node))
    net.state[node] = REACHED
    net.before[node] = -1
