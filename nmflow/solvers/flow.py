"""``flow``: exact masks by min-cost flow, ties broken by the fixed tables.

Three roads, each exact, each for what the one before could not prove:

1. Scores floored to 64-bit integers. If every change of the resulting mask costs more units than
   it adds entries, then no fraction that the floor dropped can matter: the mask is the only
   optimal one for the scores as given. This settles nearly every tile.
2. Where the integers *are* the scores, an undecided tile has several optimal masks. By
   complementary slackness these are the masks that keep every entry of positive slack and none
   of negative slack, so the tie tables are maximised on that face by the same kernel.
3. What is left has a range beyond 64 bits or ties beyond the tables: one solve in unbounded
   integers, with all tables below the scores' last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow import ties
from nmflow.kernels.dual_ascent import ROUNDS
from nmflow.kernels.flow import solve_batch, solve_unbounded
from nmflow.solvers.integers import unique_integers

Masks = NDArray[np.bool_]


class Solution(NamedTuple):
    """Masks of a batch, the potentials that prove them, and which are proved unique."""

    mask: Masks
    u: NDArray[np.int64]
    v: NDArray[np.int64]
    strict: Masks

    def select(self, chosen: NDArray[np.intp]) -> Solution:
        """The solutions of some of the tiles."""
        return Solution(self.mask[chosen], self.u[chosen], self.v[chosen], self.strict[chosen])


def solve_tiles(scores: NDArray[Any], n: int, full: bool, _method: object = None, /) -> Masks:
    """Optimal masks of a batch of equal tiles; see :class:`nmflow.solvers.registry.TileSolver`."""
    if n >= max(scores.shape[1:]):
        # The groups constrain nothing.
        return np.ones(scores.shape, np.bool_) if full else scores >= 0
    q, lossless = quantise(scores)
    solution = solve_integers(q, n, full)
    mask = solution.mask
    tied = np.flatnonzero(~solution.strict & lossless)
    settled = break_ties(q, solution, tied, n, full)
    mask[tied] = settled.mask
    hard = np.concatenate([np.flatnonzero(~solution.strict & ~lossless), tied[~settled.strict]])
    for t in hard:
        mask[t] = solve_unbounded(unique_integers(scores[t : t + 1])[0], n, full)
    return mask


def solve_integers(q: NDArray[np.int64], n: int, full: bool) -> Solution:
    """Run the compiled kernel on integer scores."""
    count, rows, columns = q.shape
    solution = Solution(
        np.empty(q.shape, np.bool_),
        np.empty((count, rows), np.int64),
        np.empty((count, columns), np.int64),
        np.empty(count, np.bool_),
    )
    solve_batch(q, n, full, *solution)
    return solution


def score_bits(m: int) -> int:
    """Bits that integer scores may have so that no sum in the kernel leaves 64 bits.

    A path's length is below 2 m scores; the dual ascent moves potentials by less than 4 scores
    a round. One bit is the sign, one is kept free.
    """
    return 62 - (2 * m + 4 * (ROUNDS + 1)).bit_length()


def margin_bits(m: int) -> int:
    """Low bits left zero, so that distinct kept scores differ by more units than m + 1."""
    return (m + 1).bit_length()


def quantise(scores: NDArray[Any]) -> tuple[NDArray[np.int64], Masks]:
    """Scores times a power of two per tile, floored; and which tiles lost nothing by it.

    A tile counts as lossless only if its integers are multiples of 2**margin_bits.
    """
    m = max(scores.shape[1:])
    bits, margin = score_bits(m), margin_bits(m)
    if scores.dtype.kind == "f":
        return _quantise_floats(scores, bits, margin)
    return _quantise_integers(scores, bits, margin)


def _quantise_floats(
    scores: NDArray[Any], bits: int, margin: int
) -> tuple[NDArray[np.int64], Masks]:
    _, exponent = np.frexp(np.abs(scores).max(axis=(1, 2), keepdims=True))
    with np.errstate(under="ignore"):
        scaled = np.ldexp(scores, bits - exponent)
        coarse = np.ldexp(scaled, -margin)
    floor = np.floor(scaled)
    # A negative score so small that scaling made it -0.0 still floors to -1.
    floor[(scores < 0) & (scaled == 0)] = -1
    kept_bits = (np.floor(coarse) == coarse) & ((coarse != 0) | (scores == 0))
    return floor.astype(np.int64), kept_bits.all(axis=(1, 2))


def _quantise_integers(
    scores: NDArray[Any], bits: int, margin: int
) -> tuple[NDArray[np.int64], Masks]:
    # Integer scores come here only where some exceed 2**53, so they are always shifted down.
    shift = 64 - bits
    kind = scores.dtype.type
    floor = (scores >> kind(shift)).astype(np.int64)
    lost = scores & kind((1 << (shift + margin)) - 1)
    return floor, (lost == 0).all(axis=(1, 2))


def break_ties(
    q: NDArray[np.int64], solution: Solution, tied: NDArray[np.intp], n: int, full: bool
) -> Solution:
    """The tables' choice among the optimal masks of the tied tiles, as many tables as needed."""
    _, rows, columns = q.shape
    table_bits = ties.TABLE_BITS + max(rows, columns).bit_length()
    margin = margin_bits(max(rows, columns))
    at_once = (score_bits(max(rows, columns)) - 2 - margin) // table_bits
    q, face = q[tied], solution.select(tied)
    todo = np.arange(tied.size)
    for first in range(0, ties.TABLES if at_once else 0, max(at_once, 1)):
        if not todo.size:
            break
        secondary = np.zeros((rows, columns), np.int64)
        for index in range(first, min(first + at_once, ties.TABLES)):
            secondary = (secondary << table_bits) + ties.table(index, rows, columns)
        # Leaving the face costs more than all the tables of a whole path can bring.
        primary = face_scores(q[todo], face.u[todo], face.v[todo]) << (at_once * table_bits)
        q[todo] = (primary + secondary) << margin
        again = solve_integers(q[todo], n, full)
        for part, update in zip(face, again, strict=True):
            part[todo] = update
        todo = todo[~again.strict]
    return face


def face_scores(
    q: NDArray[np.int64], u: NDArray[np.int64], v: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Scores of -1 ... 3 whose optimal masks are those of q, given optimal potentials of q.

    A mask is optimal if and only if it obeys complementary slackness: it keeps every entry of
    positive slack, none of negative slack, and on a partial tile fills each row and column that
    has a price. The signs of u, v and the slacks are potentials and slacks of these scores, so
    they ask exactly the same.
    """
    u, v = u[:, :, None], v[:, None, :]
    face: NDArray[np.int64] = np.sign(q - u - v) + (u > 0) + (v > 0)
    return face
