"""Prices of an optimum where the mask is none: coordinate ascent on the LP dual.

Given the columns' prices, the dual is least where the price of a row lies between the n-th and the
(n+1)-th largest of what it would earn, s_ij - v_j; and so for columns, given the rows'. Doing so in
turn leads near the optimum, often to it (Bertsekas, Network Optimization, 1998, sec. 5.2; with
steps that overshoot). Whether the entries above their prices are a mask that these prove is for
:mod:`nmflow.proof.checker` to say; what is left, :mod:`nmflow.proof.exact.search` ends.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper, unaliased
from nmflow.problem.pattern import Pair
from nmflow.problem.prices import Prices
from nmflow.proof.lanes import (
    BITS_FOR,
    OUT_OF_REACH,
    SCORE_BITS,
    Block,
    load,
    scale_limits,
    signed_patterns_of,
    store_prices,
)
from nmflow.proof.lines import Lines, no_prices, spread

_FEWEST_ROUNDS, _MOST_ROUNDS = 4, 8
# Below all scores, though not by much.
_LOW_PRICE = 1 << (SCORE_BITS + 1)


def ascend(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    tile: tuple[int, int],
    n: Pair,
    full: bool,
    patience: int = 1,
) -> Prices:
    """Prices of the tiles of a window, near those of an optimum; and the masks that they suggest.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (B, R, C)
    mask : ndarray of bool, shape (B, R, C)
        Becomes what is worth its price, whatever it was.
    tile : (int, int)
        Rows and columns of a tile.
    n : (int, int)
        What rows hold, and what columns do.
    full : bool
        Whether rows and columns hold exactly n, or at most n at prices that are not negative.
    patience : int
        How many times as many turns are taken as lead near the optimum of most tiles.
    """
    # A tile of so many times as many rows and columns takes longer for a price to get about.
    rounds = min(_FEWEST_ROUNDS + max(tile) // 4, _MOST_ROUNDS) * patience
    prices = no_prices(scores, tile, scores.dtype)
    block = Block.of(tile, scores)
    limits = scale_limits(scores)
    wires = np.empty((max(tile), block.scale.size), np.int32)
    networks = tuple(map(comparators, tile[::-1], n))
    everything = np.ones(scores.shape, np.uint8)
    ascend_window(
        scores,
        signed_patterns_of(scores),
        everything,
        n,
        full,
        limits,
        BITS_FOR[scores.dtype],
        rounds,
        block,
        wires,
        networks,
        Lines.of(scores.shape[2], tile, scores.dtype),
        *prices,
        mask,
    )
    return prices


@functools.cache
def comparators(length: int, n: int) -> NDArray[np.int64]:
    """A network whose wires n - 1 and n end with the n-th and the (n+1)-th largest of all.

    Each comparator leaves the larger of two numbers on its first wire. Merge exchange (Batcher;
    Knuth, The Art of Computer Programming 3, sec. 5.2.2, algorithm M), less what does not matter.
    """
    pairs = []
    top = 1 << max((length - 1).bit_length() - 1, 0)
    p = top if length > 1 else 0
    while p:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(length - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    wanted, needed = {n - 1, n}, []
    for pair in reversed(pairs if n < length else []):
        if wanted & set(pair):
            wanted |= set(pair)
            needed.append(pair)
    return np.array(needed[::-1], np.int64).reshape(-1, 2)


@compile_kernel(nrt=False)
def ascend_window(
    scores,
    patterns,
    everything,
    n,
    full,
    limits,
    bits,
    rounds,
    block,
    wires,
    networks,
    lines,
    row_prices,
    column_prices,
    mask,
):
    """As :func:`ascend`, block by block; writes prices and masks."""
    lanes, across, down = block.scale.size, row_prices.shape[2], column_prices.shape[1]
    tiles = scores.shape[0] * down * across
    for first in range(0, tiles, lanes):
        count = min(lanes, tiles - first)
        load(scores, patterns, everything, first, count, across, limits, bits, False, block)
        take_turns(n, full, rounds, count, block, wires, networks)
        store_prices(first, count, block, row_prices, column_prices)
    height = scores.shape[1] // down
    for b in range(scores.shape[0]):
        for k in range(scores.shape[1]):
            width = scores.shape[2] // across
            spread(row_prices[b, k], width, lines.price, lines.spare_price)
            v = column_prices[b, k // height]
            keep_worthy(scores[b, k], lines.price, v, full, mask[b, k])


@unaliased
def keep_worthy(scores, u, v, full, mask):
    """Keep the entries of a row that are worth their price."""
    for x in range(scores.size):
        price = u[x] + v[x]
        mask[x] = scores[x] >= price if full else scores[x] > price


@helper
def take_turns(n, full, rounds, count, block, wires, networks):
    """Set the prices of rows and of columns in turn."""
    rows, columns, _ = block.scores.shape
    u, v = block.u, block.v
    for j in range(columns):
        for lane in range(count):
            v[j, lane] = 0
    for turn in range(rounds):
        for i in range(rows):
            for j in range(columns):
                earn(block.scores[i, j], v[j], wires[j], count)
            order(networks[0], wires, count)
            set_price(wires, n[0], columns, full, turn == 0, u[i], count)
        if turn == rounds - 1:
            break
        for j in range(columns):
            for i in range(rows):
                earn(block.scores[i, j], u[i], wires[i], count)
            order(networks[1], wires, count)
            set_price(wires, n[1], rows, full, turn == 0, v[j], count)
    # A score is at least a unit above what it exceeds rounded down: at a unit more, rows keep what
    # they kept.
    for i in range(rows):
        for lane in range(count):
            u[i, lane] += np.int32(full)


@unaliased
def earn(score, price, wire, count):
    """What an entry is worth to the other line that it is in."""
    for lane in range(count):
        wire[lane] = score[lane] - price[lane]


@helper
def order(network, wires, count):
    """Run a network of comparators."""
    for k in range(network.shape[0]):
        compare(wires[network[k, 0]], wires[network[k, 1]], count)


@unaliased
def compare(above, below, count):
    """Put the larger numbers above."""
    for lane in range(count):
        larger = max(above[lane], below[lane])
        below[lane] = min(above[lane], below[lane])
        above[lane] = larger


@unaliased
def set_price(wires, n, length, full, first, price, count):
    """Between the n-th and the (n+1)-th largest: half a step beyond the middle."""
    if n >= length:
        # All are kept, at any price that none is below.
        for lane in range(count):
            price[lane] = -_LOW_PRICE if full else 0
        return
    least = -OUT_OF_REACH if full else 0
    for lane in range(count):
        upper, lower = wires[n - 1, lane], wires[n, lane]
        middle = np.int32((upper + lower) >> 1)
        step = middle if first else np.int32(middle + ((middle - price[lane]) >> 1))
        step = max(min(step, np.int32(upper - 1)), lower)
        price[lane] = max(step, least)
