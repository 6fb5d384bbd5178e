"""Midpoint dual ascent on tiles side by side: the two ranks by the CPU's selection networks.

Scores are (m, m, T): an instruction of a network is one tensor operation on all rows of all tiles.
"""

from __future__ import annotations

from typing import Any

import torch

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
    """How often potentials move before the tiles that are left go on one by one."""
    return next(count for size, count in _ROUNDS.items() if m <= size)


def two_ranks(values: list[Any], network: Network) -> tuple[Any, Any]:
    """The n-th and the (n+1)-th largest of m tensors, entry by entry."""
    last = {k: len(network.steps) for k in network.outputs}
    for number, step in reversed(list(enumerate(network.steps))):
        last.setdefault(step.first, number)
        last.setdefault(step.second, number)
    known: list[Any] = list(values)
    for number, step in enumerate(network.steps):
        choose = torch.maximum if step.larger else torch.minimum
        known.append(choose(known[step.first], known[step.second]))
        for k in (step.first, step.second):
            if last[k] == number:
                known[k] = None
    return known[network.outputs[0]], known[network.outputs[1]]


def relaxed(upper: Any, lower: Any, old: Any) -> Any:
    """Half as far again as the middle of two neighbouring ranks, kept between them."""
    middle = lower + ((upper - lower) >> 1)
    moved = middle + ((middle - old) >> 1)
    return torch.maximum(torch.minimum(moved, upper - 1), lower)


def rows_of(q: Any, v: Any, network: Network) -> tuple[Any, Any]:
    """The two ranks of score - v in each row; of columns, with the scores transposed."""
    return two_ranks([q[:, k] - v[k] for k in range(q.shape[1])], network)


def ascend(q: Any, n: int, u: Any, v: Any, count: int, full: bool) -> tuple[Any, Any]:
    """``count`` rounds from potentials u, v (m, T): all rows, then all columns, and so on.

    On partial tiles (``full=False``) no price is below 0. Scores (m, m, T) need a bit less than
    their integers for each power of two in m.
    """
    network = selection(q.shape[1], n)
    across = q.transpose(0, 1)
    limit = LIMIT if q.dtype is torch.int32 else 1 << 50
    least = -limit if full else 0
    for _ in range(count):
        u = relaxed(*rows_of(q, v, network), u).clamp(least, limit)
        v = relaxed(*rows_of(across, u, network), v).clamp(least, limit)
    return u, v


def separates(q: Any, n: int, u: Any, v: Any) -> tuple[Any, Any]:
    """Keep what exceeds u + v: the mask (m, m, T), and in which full tiles it is proved.

    Where every row and column holds n, kept scores are at least u + v + 1 and pruned ones at most
    u + v: no other mask is optimal, nor is one for scores of which these are floors.
    """
    mask = q - u[:, None] > v[None]
    return mask, ((mask.sum(0) == n) & (mask.sum(1) == n)).all(0)


def fold_table(q: Any, lost: Any) -> Any:
    """Add the first tie table below the scores' last bit, in tiles with room for it.

    Room is as many low bits as any sum of m entries needs, which no score uses.
    """
    m = q.shape[0]
    width = TABLE_BITS + (m - 1).bit_length()
    used = ((q & (1 << width) - 1 != 0) | lost).any(0).any(0)
    first = torch.tensor(table(0, m, m), dtype=q.dtype, device=q.device)
    return torch.where(used, q, q + first[:, :, None])
