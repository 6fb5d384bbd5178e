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

from nmflow.compiling.jit import compile_kernel, helper, unaliased
from nmflow.problem.pattern import Pair
from nmflow.problem.prices import Prices
from nmflow.proof.lanes import (
    BITS_FOR,
    OUT_OF_REACH,
    Block,
    load,
    scale_limits,
    signed_patterns_of,
    store_prices,
)
from nmflow.proof.lines import no_prices

# Sweeps that make a path of all nodes, and one, are always enough, and this many mostly.
_MOST_SWEEPS = 16
# Where no prices prove a mask, sweeps take them further and further. Between these no sum
# overflows, kept scores raise no price, and pruned ones lower none.
_LOWEST, _HIGHEST = np.int32(-(1 << 28)), np.int32(1 << 29)


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
    scores, u, v, ceiling = block.scores, block.u, block.v, block.line
    columns = v.shape[0]
    for i in range(u.shape[0]):
        set_ceiling(scores[i], n[0], full, ceiling[i], count)
    for j in range(columns):
        for lane in range(count):
            v[j, lane] = 0
    for _ in range(min(_MOST_SWEEPS, (u.shape[0] + columns) // 2 + 1)):
        for j in range(columns):
            copy(v[j], block.before[j], count)
        for i in range(u.shape[0]):
            lower(scores[i], v, ceiling[i], u[i], count)
            raise_(scores[i], u[i], v, block.line[-1], count)
        changed = 0
        for j in range(columns):
            changed |= difference(v[j], block.before[j], count)
        if not changed:
            break


@unaliased
def copy(prices, to, count):
    """Copy the prices of a line."""
    for lane in range(count):
        to[lane] = prices[lane]


@unaliased
def difference(prices, before, count):
    """Bits in which the prices of a line differ."""
    changed = np.int32(0)
    for lane in range(count):
        changed |= before[lane] ^ prices[lane]
    return changed


@unaliased
def set_ceiling(scores, n, full, ceiling, count):
    """Of a row with room for one more, in a partial tile, the price is 0, or there is no proof."""
    for lane in range(count):
        ceiling[lane] = _HIGHEST
    if full:
        return
    for lane in range(count):
        held = 0
        for j in range(scores.shape[0]):
            held += scores[j, lane] < _HIGHEST
        ceiling[lane] = _HIGHEST if held >= n else 0


@unaliased
def lower(scores, v, ceiling, u, count):
    """The price of a row: at most what each of its kept scores leaves."""
    for lane in range(count):
        u[lane] = ceiling[lane]
    # Two at a time, so that less is loaded and stored; of an odd number the last one twice.
    for j in range(0, v.shape[0], 2):
        other = min(j + 1, v.shape[0] - 1)
        for lane in range(count):
            first = np.int32(scores[j, lane] - v[j, lane])
            second = np.int32(scores[other, lane] - v[other, lane])
            left = min(first, second)
            u[lane] = min(left, u[lane])
    for lane in range(count):
        u[lane] = max(u[lane], _LOWEST)


@unaliased
def raise_(scores, u, v, reach, count):
    """The prices of columns: at least what the pruned scores of a row ask for."""
    for lane in range(count):
        reach[lane] = u[lane] + OUT_OF_REACH
    for j in range(v.shape[0]):
        for lane in range(count):
            v[j, lane] = max(np.int32(scores[j, lane] - reach[lane]), v[j, lane])
