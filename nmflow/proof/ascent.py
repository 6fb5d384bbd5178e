"""Prices of an optimum where the mask is none: coordinate ascent on the LP dual.

Given the columns' prices, the dual is least where the price of a row lies between the n-th and the
(n+1)-th largest of what it would earn, s_ij - v_j; and so for columns, given the rows'. Doing so in
turn leads near the optimum, often to it (Bertsekas, Network Optimization, 1998, sec. 5.2; with
steps that overshoot). Whether the entries above their prices are a mask that these prove is for
:mod:`nmflow.proof.checker` to say; what is left, :mod:`nmflow.proof.search` ends.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.problem.prices import Prices
from nmflow.proof.lanes import (
    BELOW_REACH,
    SCORE_BITS,
    Block,
    load,
    place_of,
    scale_limits,
    signed_patterns_of,
    store_prices,
)
from nmflow.proof.lines import no_prices

_ROUNDS = 8
# Below all scores, though not by much.
_LOW_PRICE = 1 << (SCORE_BITS + 1)


def ascend(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    tiles: NDArray[np.intp],
    tile: tuple[int, int],
    n: int,
    full: bool,
) -> Prices:
    """Prices of some tiles of a window, near those of an optimum; and the masks that they suggest.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (B, R, C)
    mask : ndarray of bool, shape (B, R, C)
        Of these tiles it becomes what is worth its price.
    tiles : ndarray of intp
        Which tiles, ascending, from left to right and downwards.
    tile : (int, int)
        Rows and columns of a tile.
    n : int
    full : bool
        Whether rows and columns hold exactly n, or at most n at prices that are not negative.
    """
    prices = no_prices(scores, tile)
    block = Block.of(tile, tiles.size, scores)
    limits = scale_limits(scores)
    wires = np.empty((max(tile), block.scale.size), np.int32)
    networks = tuple(comparators(length, n) for length in tile[::-1])
    everything = np.ones(scores.shape, np.uint8)
    ascend_window(
        scores,
        signed_patterns_of(scores),
        everything,
        tiles,
        n,
        full,
        limits,
        block,
        wires,
        networks,
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
    tiles,
    n,
    full,
    limits,
    block,
    wires,
    networks,
    row_prices,
    column_prices,
    mask,
):
    """As :func:`ascend`, block by block; writes prices and masks."""
    lanes, across, down = block.scale.size, row_prices.shape[2], column_prices.shape[1]
    for first in range(0, tiles.size, lanes):
        some = tiles[first : first + lanes]
        load(scores, patterns, everything, some, across, limits, SCORE_BITS, block)
        take_turns(n, full, some.size, block, wires, networks)
        store_prices(some, block, row_prices, column_prices)
        for tile in some:
            b, i, j = place_of(tile, down, across)
            keep_worthy(scores[b], row_prices[b], column_prices[b, i], i, j, block, full, mask[b])


@helper
def keep_worthy(scores, row_prices, column_prices, i, j, block, full, mask):
    """Keep the entries of a tile that are worth their price."""
    rows, columns, _ = block.low.shape
    for k in range(i * rows, (i + 1) * rows):
        u = row_prices[k, j]
        for x in range(j * columns, (j + 1) * columns):
            price = u + column_prices[x]
            mask[k, x] = scores[k, x] >= price if full else scores[k, x] > price


@helper
def take_turns(n, full, count, block, wires, networks):
    """Set the prices of rows and of columns in turn."""
    rows, columns, _ = block.low.shape
    u, v = block.u, block.v
    for j in range(columns):
        for lane in range(count):
            v[j, lane] = 0
    for turn in range(_ROUNDS):
        for i in range(rows):
            for j in range(columns):
                earn(block.low[i, j], v[j], wires[j], count)
            order(networks[0], wires, count)
            set_price(wires, n, columns, full, turn == 0, u[i], count)
        if turn == _ROUNDS - 1:
            break
        for j in range(columns):
            for i in range(rows):
                earn(block.low[i, j], u[i], wires[i], count)
            order(networks[1], wires, count)
            set_price(wires, n, rows, full, turn == 0, v[j], count)
    # A score is at least a unit above what it exceeds rounded down: at a unit more, rows keep what
    # they kept.
    for i in range(rows):
        for lane in range(count):
            u[i, lane] += np.int32(full)


@helper
def earn(score, price, wire, count):
    """What an entry is worth to the other line that it is in."""
    for lane in range(count):
        wire[lane] = score[lane] - price[lane]


@helper
def order(network, wires, count):
    """Run a network of comparators."""
    for k in range(network.shape[0]):
        above, below = wires[network[k, 0]], wires[network[k, 1]]
        for lane in range(count):
            larger = max(above[lane], below[lane])
            below[lane] = min(above[lane], below[lane])
            above[lane] = larger


@helper
def set_price(wires, n, length, full, first, price, count):
    """Between the n-th and the (n+1)-th largest: half a step beyond the middle."""
    if n >= length:
        # All are kept, at any price that none is below.
        for lane in range(count):
            price[lane] = -_LOW_PRICE if full else 0
        return
    least = BELOW_REACH if full else 0
    for lane in range(count):
        upper, lower = wires[n - 1, lane], wires[n, lane]
        middle = np.int32((upper + lower) >> 1)
        step = middle if first else np.int32(middle + ((middle - price[lane]) >> 1))
        step = max(min(step, np.int32(upper - 1)), lower)
        price[lane] = max(step, least)
