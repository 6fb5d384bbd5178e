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
from nmflow.problem.prices import Prices
from nmflow.proof.lanes import (
    BELOW_REACH,
    OUT_OF_REACH,
    SCORE_BITS,
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
    tiles: NDArray[np.intp],
    tile: tuple[int, int],
    n: int,
    full: bool,
) -> Prices:
    """Prices of some tiles of a window, which prove their masks where they can be found.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (B, R, C)
    mask : ndarray of bool, shape (B, R, C)
    tiles : ndarray of intp
        Which tiles, ascending, from left to right and downwards: such as hold what they should.
    tile : (int, int)
        Rows and columns of a tile.
    n : int
    full : bool
        Whether rows and columns hold exactly n, or at most n.
    """
    prices = no_prices(scores, tile)
    block = Block.of(tile, tiles.size, scores)
    limits = scale_limits(scores)
    label_window(
        scores,
        signed_patterns_of(scores),
        mask.view(np.uint8),
        tiles,
        n,
        full,
        limits,
        block,
        *prices,
    )
    return prices


@compile_kernel(nrt=False)
def label_window(scores, patterns, mask, tiles, n, full, limits, block, row_prices, column_prices):
    """As :func:`label`, block by block; writes the prices."""
    lanes, across = block.scale.size, row_prices.shape[2]
    for first in range(0, tiles.size, lanes):
        some = tiles[first : first + lanes]
        load(scores, patterns, mask, some, across, limits, SCORE_BITS, block)
        relax(n, full, some.size, block)
        store_prices(some, block, row_prices, column_prices)


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
            held = n if full else 0
            for j in range(0 if full else columns):
                held += high[i, j, lane] == BELOW_REACH
            ceiling[i, lane] = 0 if held < n else OUT_OF_REACH


@helper
def lower(low, v, ceiling, u, count):
    """The price of a row: at most what each of its kept scores leaves."""
    for lane in range(count):
        u[lane] = ceiling[lane]
    for j in range(v.shape[0]):
        kept, price = low[j], v[j]
        for lane in range(count):
            left = np.int32(kept[lane] - price[lane])
            u[lane] = left if left < u[lane] else u[lane]


@helper
def raise_(high, j, u, v, before, count):
    """The price of a column: at least what each of its pruned scores asks for; whether it rose."""
    for lane in range(count):
        before[lane] = v[lane]
    for i in range(u.shape[0]):
        pruned, price = high[i, j], u[i]
        for lane in range(count):
            asked = np.int32(pruned[lane] - price[lane])
            v[lane] = asked if asked > v[lane] else v[lane]
    changed = 0
    for lane in range(count):
        changed |= before[lane] ^ v[lane]
    return changed
