"""Midpoint dual ascent on tiles side by side: the two ranks by the CPU's selection networks.

Scores are (m, m, K), so that a processor's vectors run along tiles: an instruction of a network is
one operation on a row, or a column, of all tiles.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from nmflow.lax.folds import held
from nmflow.problem.ties import TABLE_BITS, table
from nmflow.simd.selection_networks import Network, selection

BITS = 28
"""Bits of a score in 32-bit integers, less the sign."""
LIMIT = 1 << (BITS + 1)
"""Potentials end within +-LIMIT, so that score - u - v fits 32 bits."""
assert (1 << BITS) + 2 * LIMIT < 1 << 31

# Rounds by the size of the tiles.
_ROUNDS = {4: 8, 8: 8, 16: 10, 32: 12}


def rounds(m: int) -> int:
    """How often all potentials move before the tiles that are left are solved by paths."""
    return next(count for size, count in _ROUNDS.items() if m <= size)


def two_ranks(values: list[Any], network: Network) -> tuple[Any, Any]:
    """The n-th and the (n+1)-th largest of m arrays, entry by entry."""
    known = list(values)
    for step in network.steps:
        choose = jnp.maximum if step.larger else jnp.minimum
        # Else a value that several steps read would be computed again for each of them.
        known.append(lax.optimization_barrier(choose(known[step.first], known[step.second])))
    return known[network.outputs[0]], known[network.outputs[1]]


def relaxed(upper: Any, lower: Any, old: Any) -> Any:
    """Half as far again as the middle of two neighbouring ranks, kept between them."""
    middle = lower + ((upper - lower) >> 1)
    moved = middle + ((middle - old) >> 1)
    return jnp.maximum(jnp.minimum(moved, upper - 1), lower)


def ascend(q: Any, n: int, u: Any, v: Any, count: int, least: Any, most: int) -> tuple[Any, Any]:
    """``count`` steps from potentials u, v (m, K): all rows, then all columns, and so on.

    Potentials end within ``least`` and ``most``; on a partial tile no price is below 0. After an
    odd number of steps, and where those are out of reach, each row's potential is between its
    n-th and its next largest score - v.
    """
    network = selection(q.shape[1], n)
    # One network, for rows and columns in turn, is compiled in half the time of two.
    both = jnp.stack([q.swapaxes(0, 1), q])

    def move(step: Any, potentials: Any) -> Any:
        lines, across = both[step % 2], potentials[1 - step % 2]
        upper, lower = two_ranks([lines[k] - across[k] for k in range(len(across))], network)
        moved = jnp.clip(relaxed(upper, lower, potentials[step % 2]), least, most)
        return potentials.at[step % 2].set(moved)

    u, v = lax.fori_loop(0, count, move, jnp.stack([u, v]))
    return u, v


def separates(q: Any, n: int, u: Any, v: Any) -> tuple[Any, Any]:
    """Keep what exceeds u + v: the mask (m, m, K), and in which full tiles it is proved.

    Where every row and column holds n, kept scores are at least u + v + 1 and pruned ones at most
    u + v: no other mask is optimal, nor is one for scores of which these are floors.
    """
    mask = q - u[:, None] > v[None]
    return mask, ((held(mask, 0) == n) & (held(mask, 1) == n)).all(0)


def fold_table(q: Any, lost: Any) -> Any:
    """Add the first tie table below the scores' last bit, in tiles with room for it.

    Room is as many low bits as any sum of m entries needs, which no score uses.
    """
    m = q.shape[0]
    width = TABLE_BITS + (m - 1).bit_length()
    used = ((q & (1 << width) - 1 != 0) | lost).any((0, 1))
    return jnp.where(used, q, q + tie_table(0, m)[:, :, None])


def tie_table(index: int, m: int) -> Any:
    """A table of :mod:`nmflow.problem.ties` for tiles of m x m."""
    return table(index, m, m).astype(np.int32)
