"""The optimum of any tile, with a proof, in integers of which no bit is lost.

For tiles that :mod:`nmflow.proof.labels` and :mod:`nmflow.proof.ascent` leave open: scores of too
many digits, ties, masks that are no optimum. First the mask itself is tried, by Bellman and Ford's
labels. If a negative cycle keeps them from ending, units too many go to where some are missing
along shortest paths, one by one (successive shortest paths: Ahuja, Magnanti & Orlin, Network Flows,
1993, sec. 9.7). The prices at the end must prove the mask at the end: that is checked here, in the
same integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.compiling.sparing import run_sparingly
from nmflow.problem.pattern import Pair
from nmflow.problem.prices import Prices
from nmflow.proof.exact.integers import read_price, read_scores, width_of
from nmflow.proof.exact.limbs import add, clear, copy, is_less, sign, subtract
from nmflow.proof.exact.network import (
    FINAL,
    UNREACHED,
    Network,
    capacity,
    count_held,
    distance_at,
    nearest,
    price_at,
    proves,
    relax_from_column,
    relax_from_row,
    relax_from_slack,
    score_at,
    set_margin,
    start_from,
    temporary_at,
)
from nmflow.proof.lanes import place_of


def search(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    prices: Prices,
    tiles: NDArray[np.intp],
    tile: tuple[int, int],
    n: Pair,
    full: bool,
) -> NDArray[np.bool_]:
    """Make the masks of some tiles of a window optimal; which ones were so as they stood.

    Parameters
    ----------
    scores : ndarray, shape (B, R, C), float32, float64, int64 or uint64
    mask : ndarray of bool, shape (B, R, C)
        Any; of these tiles it is replaced by an optimum, but where it is one.
    prices : Prices
        To begin with: any.
    tiles : ndarray of intp
        Which tiles, from left to right and downwards.
    tile : (int, int)
        Rows and columns of a tile.
    n : (int, int)
        What rows hold, and what columns do.
    full : bool
        Whether rows and columns must hold exactly n, or at most n.

    Returns
    -------
    ndarray of bool, of the shape of ``tiles``
    """
    same, proved = np.empty(tiles.size, np.bool_), np.empty(tiles.size, np.bool_)
    parts, net = _as_floats(scores), Network.of(tile)
    args = (parts, mask.view(np.uint8), *prices, tiles, n, full, net, same, proved)
    run_sparingly(search_window, args, tiles.size * net.kept.size)
    if not proved.all():
        raise AssertionError("shortest paths ended without a proof; please report this")
    return same


def _as_floats(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers that add up to the scores, exactly: shape (parts, B, R, C)."""
    if scores.dtype.kind == "f":
        return scores.astype(np.float64)[None]
    half = scores.dtype.type(1 << 32)
    upper = scores // half
    lower = (scores - upper * half).astype(np.float64)
    return np.stack([upper.astype(np.float64) * float(half), lower])


@compile_kernel(nrt=False)
def search_window(parts, mask, row_prices, column_prices, tiles, n, full, net, same, proved):
    """As :func:`search`, tile by tile; also writes whether prices prove the optimum."""
    rows, columns = net.kept.shape
    for t in range(tiles.size):
        b, i, j = place_of(tiles[t], column_prices.shape[1], row_prices.shape[2])
        top, left = i * rows, j * columns
        for k in range(rows):
            for x in range(columns):
                net.given[k, x] = mask[b, top + k, left + x]
        window = parts[:, b, top : top + rows, left : left + columns]
        limbs, unit, largest = width_of(window)
        read_scores(net, limbs, window, unit)
        same[t] = proved[t] = try_mask(net, limbs, net.given, n, full)
        if same[t]:
            continue
        for k in range(rows):
            read_price(net, limbs, k, row_prices[b, top + k, j], unit, largest, full)
        for x in range(columns):
            read_price(net, limbs, rows + x, column_prices[b, i, left + x], unit, largest, full)
        keep_profitable(net, limbs, net.given)
        while send_unit(net, limbs, n, full):
            pass
        proved[t] = proves(net, limbs, net.kept, n, full)
        # Prices of an optimum prove every optimum.
        same[t] = proves(net, limbs, net.given, n, full)
        if not same[t]:
            for k in range(rows):
                for x in range(columns):
                    mask[b, top + k, left + x] = net.kept[k, x]


@helper
def try_mask(net, limbs, mask, n, full):
    """Whether labels prove the mask: they end after half as many sweeps as nodes, or never."""
    rows, columns = net.kept.shape
    count_held(mask, net.held)
    for node in range(rows + columns):
        most = capacity(net, node, n)
        if net.held[node] > most or (full and net.held[node] < most):
            return False
        clear(net.numbers, limbs, price_at(net, limbs, node))
    for _ in range((rows + columns) // 2 + 2):
        for i in range(rows):
            if full or net.held[i] == n[0]:
                lower_price(net, limbs, mask, i)
        changed = False
        for j in range(columns):
            changed |= raise_price(net, limbs, mask, j)
        if not changed:
            return proves(net, limbs, mask, n, full)
    return False


@helper
def lower_price(net, limbs, mask, i):
    """Set the price of a row to the least that its kept scores leave."""
    rows, columns = net.kept.shape
    price, left = price_at(net, limbs, i), temporary_at(net, limbs, 0)
    found = False
    for j in range(columns):
        if mask[i, j]:
            column = price_at(net, limbs, rows + j)
            subtract(net.numbers, limbs, left, score_at(net, limbs, i, j), column)
            if not found or is_less(net.numbers, limbs, left, price):
                copy(net.numbers, limbs, price, left)
                found = True


@helper
def raise_price(net, limbs, mask, j):
    """Raise the price of a column to what its pruned scores ask for; whether that was more."""
    rows = net.kept.shape[0]
    price, asked = price_at(net, limbs, rows + j), temporary_at(net, limbs, 0)
    raised = False
    for i in range(rows):
        if not mask[i, j]:
            row = price_at(net, limbs, i)
            subtract(net.numbers, limbs, asked, score_at(net, limbs, i, j), row)
            if is_less(net.numbers, limbs, price, asked):
                copy(net.numbers, limbs, price, asked)
                raised = True
    return raised


@helper
def keep_profitable(net, limbs, mask):
    """Keep what is worth more than its price, and of what is worth the same what the mask keeps."""
    rows, columns = net.kept.shape
    margin = temporary_at(net, limbs, 0)
    for i in range(rows):
        for j in range(columns):
            set_margin(net, limbs, i, j, margin)
            side = sign(net.numbers, limbs, margin)
            net.kept[i, j] = side > 0 or (side == 0 and mask[i, j] != 0)
    count_held(net.kept, net.held)


@helper
def lacks(net, limbs, node, n, full):
    """Whether a row or column holds less than n and has to hold n."""
    if net.held[node] >= capacity(net, node, n):
        return False
    return full or sign(net.numbers, limbs, price_at(net, limbs, node)) > 0


@helper
def send_unit(net, limbs, n, full):
    """Send a unit too many to where one is missing; False if all is in order."""
    rows, slack = net.kept.shape[0], net.state.size - 1
    net.state[:] = UNREACHED
    found, missing = False, False
    for node in range(slack):
        if net.held[node] > n[1] if node >= rows else lacks(net, limbs, node, n, full):
            start_from(net, limbs, node)
            found = True
        elif net.held[node] > capacity(net, node, n) or lacks(net, limbs, node, n, full):
            missing = True
    if not found:
        if full or not missing:
            return False
        start_from(net, limbs, slack)
    end = shortest_path(net, limbs, n, full, found)
    if end < 0:
        return False
    move_prices(net, limbs, end, full)
    flip_path(net, end)
    return True


@helper
def shortest_path(net, limbs, n, full, ends_at_slack):
    """Dijkstra's algorithm; the node where a unit is missing, or the slack node, or -1."""
    rows, slack = net.kept.shape[0], net.state.size - 1
    while True:
        node = nearest(net, limbs)
        if node < 0:
            return node
        net.state[node] = FINAL
        if node == slack:
            if ends_at_slack:
                return node
            relax_from_slack(net, limbs, n)
        elif node < rows:
            if net.held[node] > n[0]:
                return node
            relax_from_row(net, limbs, node, full)
        else:
            if lacks(net, limbs, node, n, full):
                return node
            relax_from_column(net, limbs, node - rows, n, full)


@helper
def move_prices(net, limbs, end, full):
    """Make the arcs of shortest paths cost 0, and no arc less; the slack node's price stays 0."""
    x, rows, slack = net.numbers, net.kept.shape[0], net.state.size - 1
    length, shift = distance_at(net, limbs, end), temporary_at(net, limbs, 0)
    for node in range(slack):
        if net.state[node] == FINAL:
            subtract(x, limbs, shift, length, distance_at(net, limbs, node))
            change(net, limbs, node, shift, node >= rows)
    if not full and net.state[slack] == FINAL:
        subtract(x, limbs, shift, length, distance_at(net, limbs, slack))
        for node in range(slack):
            change(net, limbs, node, shift, node < rows)


@helper
def change(net, limbs, node, shift, up):
    """Move a price up or down."""
    price = price_at(net, limbs, node)
    if up:
        add(net.numbers, limbs, price, price, shift)
    else:
        subtract(net.numbers, limbs, price, price, shift)


@helper
def flip_path(net, end):
    """Keep and prune along the path that ends at a node."""
    rows, slack = net.kept.shape[0], net.state.size - 1
    node = end
    while net.before[node] >= 0:
        before = net.before[node]
        if slack not in (node, before):
            i, j = min(node, before), max(node, before) - rows
            keep = node >= rows
            net.kept[i, j] = keep
            step = 1 if keep else -1
            net.held[i] += step
            net.held[rows + j] += step
        node = before
