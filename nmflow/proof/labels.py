"""Prices of a mask that is optimal, by Bellman and Ford's labels on the residual network.

Prices that prove a mask obey u_i + v_j <= s_ij where it keeps and >= where it prunes: differences
of u and -v, so labels of shortest paths are a solution, if there is any (Ahuja, Magnanti & Orlin,
Network Flows, 1993, sec. 5.2). Raising v and lowering u in turn, each as little as the other
forces, ends at them: as many sweeps as the longest shortest path has steps, about m / 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.problem.pattern import Pair
from nmflow.problem.prices import Prices
from nmflow.proof.lanes import (
    BELOW_REACH,
    BITS_FOR,
    OUT_OF_REACH,
    Block,
    load,
    scale_limits,
    signed_patterns_of,
    store_prices,
)
from nmflow.proof.lines import no_prices

# A sweep takes prices further by two scores at most, and they are to stay below 2**29. Sweeps that
# make a path of all nodes, and one, are always enough.
_MOST_SWEEPS = 16


def label(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    tile: tuple[int, int],
    n: Pair,
    full: bool,
    dtype: Any,
    unsigned: bool = False,
) -> Prices:
    """Prices of the tiles of a window, which prove their masks where they can be found.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (B, R, C)
    mask : ndarray of bool, shape (B, R, C)
    tile : (int, int)
        Rows and columns of a tile.
    n : (int, int)
        What rows hold, and what columns do.
    full : bool
        Whether rows and columns hold exactly n, or at most n.
    dtype : dtype
        Of the prices: float32 or float64. The one has digits for a few masks less.
    unsigned : bool
        Whether the scores are what is given without its signs.
    """
    prices, bits = no_prices(scores, tile, dtype), BITS_FOR[np.dtype(dtype)]
    block = Block.of(tile, scores)
    limits = scale_limits(scores)
    label_window(
        scores,
        signed_patterns_of(scores),
        mask.view(np.uint8),
        n,
        full,
        limits,
        bits,
        unsigned,
        block,
        *prices,
    )
    return prices


@compile_kernel(nrt=False)
def label_window(
    scores, patterns, mask, n, full, limits, bits, unsigned, block, row_prices, column_prices
):
    """As :func:`label`, block by block; writes the prices."""
    lanes, down, across = block.scale.size, column_prices.shape[1], row_prices.shape[2]
    tiles = scores.shape[0] * down * across
    for first in range(0, tiles, lanes):
        count = min(lanes, tiles - first)
        load(scores, patterns, mask, first, count, across, limits, bits, unsigned, block)
        relax(n, full, count, block)
        store_prices(first, count, block, row_prices, column_prices)


@helper
def relax(n, full, count, block):
    """Lower u and raise v until nothing changes, or for as many sweeps as there may be."""
    low, high, u, v = block.low, block.high, block.u, block.v
    ceiling = block.line[0]
    set_ceilings(n, full, count, high, ceiling)
    for j in range(v.shape[0]):
        for lane in range(count):
            v[j, lane] = 0
    for _ in range(min(_MOST_SWEEPS, (u.shape[0] + v.shape[0]) // 2 + 1)):
        for i in range(u.shape[0]):
            lower(low[i], v, ceiling[i], u[i], count)
        changed = 0
        for j in range(v.shape[0]):
            changed |= raise_(high, j, u, v[j], block.line[1, 0], count)
        if not changed:
            break


@helper
def set_ceilings(n, full, count, high, ceiling):
    """Of rows with room for one more, in partial tiles, the price is 0, or there is no proof."""
    rows, columns, _ = high.shape
    for i in range(rows):
        for lane in range(count):
            held = n[0] if full else 0
            for j in range(0 if full else columns):
                held += high[i, j, lane] == BELOW_REACH
            ceiling[i, lane] = 0 if held < n[0] else OUT_OF_REACH


@helper
def lower(low, v, ceiling, u, count):
    """The price of a row: at most what each of its kept scores leaves."""
    for lane in range(count):
        u[lane] = ceiling[lane]
    # Two at a time, so that less is loaded and stored; of an odd number the last one twice.
    for j in range(0, v.shape[0], 2):
        other = min(j + 1, v.shape[0] - 1)
        first_kept, first_price, second_kept, second_price = low[j], v[j], low[other], v[other]
        for lane in range(count):
            first = np.int32(first_kept[lane] - first_price[lane])
            second = np.int32(second_kept[lane] - second_price[lane])
            left = first if first < second else second
            u[lane] = left if left < u[lane] else u[lane]


@helper
def raise_(high, j, u, v, before, count):
    """The price of a column: at least what each of its pruned scores asks for; whether it rose."""
    for lane in range(count):
        before[lane] = v[lane]
    for i in range(0, u.shape[0], 2):
        other = min(i + 1, u.shape[0] - 1)
        first_pruned, first_price = high[i, j], u[i]
        second_pruned, second_price = high[other, j], u[other]
        for lane in range(count):
            first = np.int32(first_pruned[lane] - first_price[lane])
            second = np.int32(second_pruned[lane] - second_price[lane])
            asked = first if first > second else second
            v[lane] = asked if asked > v[lane] else v[lane]
    changed = 0
    for lane in range(count):
        changed |= before[lane] ^ v[lane]
    return changed
