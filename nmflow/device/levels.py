"""Open tiles, exactly: their leading bits, then more of them as long as there are any, then ties.

The steps of :mod:`nmflow.solvers.flow.scalar.solve` and :mod:`nmflow.solvers.flow.scalar.quantise`,
on all open tiles at once.
"""

from __future__ import annotations

from typing import Any

import torch

from nmflow.device.ascent import BITS, ascend
from nmflow.device.numbers import Numbers
from nmflow.device.paths import augment, start
from nmflow.device.tiles import Tiles
from nmflow.device.uniqueness import is_unique, margin
from nmflow.problem.ties import TABLE_BITS, TABLES, table

FIRST_BITS = 44
"""Bits of a score at first, less the sign."""
MORE_BITS = 40
"""Bits that each further level adds."""
TABLES_AT_ONCE = 2
LARGEST_M = 32
# Potentials and distances stay below 4 m + 64 of the largest score, as bits.py reckons for the
# scalar form; multiplied for the proof they are still below FAR.
assert FIRST_BITS + 8 + margin(LARGEST_M) < 60
assert (LARGEST_M + 1) * 3 < 1 << FIRST_BITS + 4 - MORE_BITS + 3
# More rounds, from the potentials that were found.
_ROUNDS = 3


def first_level(scores: Numbers, barred: Any, index: Any, u: Any, v: Any) -> tuple[Tiles, Any, Any]:
    """Tiles with the leading bits of their scores; their unit's exponent; whether that is all.

    Parameters
    ----------
    scores : Numbers, shape (T, m, m)
    barred : bool Tensor or None
        What must not be kept: its score is one below 0.
    index : see :class:`Tiles`
    u, v : Tensors, shape (T, m)
        Potentials to start from, as of scores of :data:`nmflow.device.ascent.BITS` bits.
    """
    wide = Numbers(scores.mantissa.to(torch.int64), scores.exponent)
    unit = wide.scale((1, 2)) - FIRST_BITS
    q, lost = wide.floor(unit)
    if barred is not None:
        q = torch.where(barred, -1, q)
    more = FIRST_BITS - BITS
    tiles = Tiles(index, q, None, u.to(torch.int64) << more, v.to(torch.int64) << more)
    return tiles, unit, ~lost.any(2).any(1)


def solve_levels(
    scores: Numbers, barred: Any, u: Any, v: Any, n: int, full: bool, mask: Any
) -> Any:
    """Write the masks of all tiles; return the indices of those that tie beyond the tables.

    Parameters are those of :func:`first_level`; ``mask`` is of shape (T, m, m).
    """
    index = torch.arange(len(scores.mantissa), device=mask.device)
    tiles, unit, exact = first_level(scores, barred, index, u, v)
    levels, left = [(tiles, unit, exact, 0)], [index[:0]]
    while levels:
        tiles, unit, exact, tables = levels.pop()
        _solve_level(tiles, n, full)
        proved = is_unique(tiles, n, full, exact)
        mask[tiles.index[proved]] = tiles.mask[proved]
        tied, floored = exact & ~proved, ~exact & ~proved
        if floored.any():
            open_tiles = tiles.take(floored)
            there = scores.take(open_tiles.index)
            levels.append((*_next_digits(there, open_tiles, unit[floored], full), 0))
        if tied.any() and tables < TABLES:
            posed = _next_tables(tiles.take(tied), tables, full)
            levels.append((posed, unit[tied], exact[tied], tables + TABLES_AT_ONCE))
        elif tied.any():
            left.append(tiles.index[tied])
    return torch.cat(left)


def _solve_level(tiles: Tiles, n: int, full: bool) -> None:
    """Optimal masks and potentials for the tiles' integers, from their potentials."""
    q = tiles.q.permute(1, 2, 0).contiguous()
    u, v = ascend(q, n, tiles.u.T, tiles.v.T, _ROUNDS, full)
    tiles.u, tiles.v = u.T.contiguous(), v.T.contiguous()
    start(tiles, n, full)
    augment(tiles, n, full)


def _pose_reduced_costs(tiles: Tiles, limit: int, bits: int, full: bool) -> None:
    """Replace scores by their reduced costs, clipped to +- limit, times 2**bits; u, v to match.

    A change of the mask that meets a limit costs as much, whatever else it does; so where what is
    added below brings less, no optimal mask is lost and none is won.
    """
    reduced = tiles.reduced.clamp(-limit, limit)
    if full:
        tiles.u, tiles.v = torch.zeros_like(tiles.u), torch.zeros_like(tiles.v)
    else:
        tiles.u, tiles.v = tiles.u.clamp(max=limit), tiles.v.clamp(max=limit)
        reduced = reduced + tiles.u[:, :, None] + tiles.v[:, None, :]
    tiles.q, tiles.u, tiles.v = reduced << bits, tiles.u << bits, tiles.v << bits


def _next_digits(scores: Numbers, tiles: Tiles, unit: Any, full: bool) -> tuple[Tiles, Any, Any]:
    """The same tiles with MORE_BITS more, by which a change of the mask gains less than m units."""
    m = tiles.q.shape[1]
    _pose_reduced_costs(tiles, m + 1, MORE_BITS, full)
    unit = unit - MORE_BITS
    digits, more = scores.digits(unit, MORE_BITS)
    tiles.q = tiles.q + digits
    return tiles, unit, ~more.any(2).any(1)


def _next_tables(tiles: Tiles, first: int, full: bool) -> Tiles:
    """The choice between the optimal masks of exact scores: of reduced costs the sign counts."""
    m = tiles.q.shape[1]
    width = TABLE_BITS + m.bit_length()
    below = [width * k for k in reversed(range(TABLES_AT_ONCE))]
    _pose_reduced_costs(tiles, 1, width * TABLES_AT_ONCE, full)
    for k, shift in enumerate(below):
        entries = torch.tensor(table(first + k, m, m), device=tiles.q.device)
        tiles.q = tiles.q + (entries << shift)
    return tiles
