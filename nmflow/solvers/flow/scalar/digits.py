"""Scores as 64-bit integers: their leading digits first, then as many more as a tile asks for.

In units of a power of two, q = floor(score) leaves a fraction below one unit per entry. Where the
mask that q asks for is not strict, the fractions or the tie tables have to decide between masks
that q holds nearly equal; see :func:`zoom` and :func:`pose_ties`. All of it is numpy, on tiles
(T, r, c) at a time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem import ties
from nmflow.solvers.flow.scalar.bits import margin_bits, score_bits, table_width


@dataclass(frozen=True, slots=True)
class Digits:
    """Tiles of integers that stand for scores.

    Attributes
    ----------
    q : ndarray of int64, shape (T, r, c)
        Floors of the scores, or what is left of them to decide.
    exponent : ndarray of int64, shape (T,)
        Units are 2**-exponent of the scores'.
    exact : ndarray of bool, shape (T,)
        Whether the floors lost nothing.
    tables : ndarray of int64, shape (T,)
        How many tie tables were used.
    """

    q: NDArray[np.int64]
    exponent: NDArray[np.int64]
    exact: NDArray[np.bool_]
    tables: NDArray[np.int64]

    @property
    def parts(self) -> tuple[NDArray[Any], ...]:
        """All arrays."""
        return self.q, self.exponent, self.exact, self.tables

    def of(self, some: NDArray[np.bool_]) -> Digits:
        """Some of the tiles."""
        return Digits(*(part[some] for part in self.parts))

    @property
    def undecided(self) -> NDArray[np.bool_]:
        """Which tiles have more digits, or tables, that may decide."""
        return ~self.exact | (self.tables < ties.TABLES * (_room(*self.q.shape[1:]) > 0))


def leading_digits(scores: NDArray[np.float64], bits: int) -> Digits:
    """Floors of the scores (T, r, c) times the powers of two that make them less than 2**bits."""
    count = len(scores)
    _, exponent = np.frexp(np.abs(scores).reshape(count, -1).max(axis=1))
    exponent = bits - exponent
    # Each product is exact but where it is subnormal itself, far below one unit.
    value = np.ldexp(scores, exponent[:, None, None])
    whole = np.floor(value)
    q = whole.astype(np.int64)
    exact = (whole == value).reshape(count, -1).all(axis=1)
    if exponent.min(initial=0) < 0:
        vanished = (value == 0) & (scores != 0)
        exact &= ~vanished.reshape(count, -1).any(axis=1)
        # A negative score that scaling made -0.0 still floors to -1.
        q -= vanished & (scores < 0)
    return Digits(q, exponent.astype(np.int64), exact, np.zeros(count, np.int64))


def next_digits(
    scores: NDArray[np.float64], shift: NDArray[np.int64], digits: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Bits of floor(score * 2**shift) below 2**digits; whether the score has more."""
    fraction, exponent = np.frexp(scores)
    mantissa = np.ldexp(fraction, 53).astype(np.int64)
    left = exponent + shift - 53
    down = np.clip(-left, 0, 62)
    # Bits that leave 64 to the left are none of these.
    up = np.where(left < 63, np.maximum(left, 0), 0)
    value = np.where(left < 63, (mantissa << up) >> down, 0)
    more = (left < 0) & ((mantissa & ((1 << down) - 1)) != 0)
    return value & ((1 << digits) - 1), more


def start_of(
    start: NDArray[np.float64], exponent: NDArray[np.int64], bits: int, full: bool
) -> NDArray[np.int64]:
    """Column potentials to start from; whatever ``start``, (T, c), holds, they are within bounds.

    NaN and infinities count as 0.
    """
    if not start.any():
        return np.zeros(start.shape, np.int64)
    limit = np.ldexp(1.0, bits if not full else bits + 2)
    with np.errstate(over="ignore", invalid="ignore"):
        value = np.ldexp(start, exponent[:, None].astype(np.int32))
        value = np.where(np.isfinite(value), value, 0.0)
        if full:
            # Potentials of a full tile may be moved together; a price is at least 0.
            low, high = value.min(axis=1), value.max(axis=1)
            value = value - (0.5 * low + 0.5 * high)[:, None]
    return np.floor(np.clip(value, -limit if full else 0.0, limit)).astype(np.int64)


def fold_ties(digits: Digits) -> None:
    """Put as many tables as fit into low bits that no score of an exact tile uses."""
    if not digits.exact.any():
        return
    q, (rows, columns) = digits.q, digits.q.shape[1:]
    used = np.bitwise_or.reduce(q.reshape(len(q), -1), axis=1)
    # The lowest one, or of no number at all the highest.
    lowest = (used | (1 << 62)) & -(used | (1 << 62))
    free = np.frexp(lowest.astype(np.float64))[1] - 1
    count = np.maximum(free - margin_bits(rows, columns), 0) // table_width(rows, columns)
    digits.tables[:] = np.minimum(count, ties.TABLES) * digits.exact
    if digits.tables.any():
        q += _first_tables(rows, columns)[digits.tables]


def zoom(
    scores: NDArray[np.float64],
    digits: Digits,
    full: bool,
    u: NDArray[np.int64],
    v: NDArray[np.int64],
) -> Digits:
    """Pose the same tiles with more digits, given optimal potentials for those so far.

    The digits that were not looked at make a change of m additions better by less than m units, so
    reduced costs beyond that are clipped. ``v`` is written: potentials to start from.
    """
    rows, columns = scores.shape[1:]
    limit = max(rows, columns) + 1
    count = score_bits(rows, columns) - (3 * limit).bit_length()
    exponent = digits.exponent + count
    q = _pose_reduced_costs(digits.q, limit, count, full, u, v)
    more, rest = next_digits(scores, exponent[:, None, None], count)
    return Digits(q + more, exponent, ~rest.any(axis=(1, 2)), digits.tables)


def pose_ties(digits: Digits, full: bool, u: NDArray[np.int64], v: NDArray[np.int64]) -> Digits:
    """Pose the choice between optimal masks of exact scores: the next tie tables.

    A mask is optimal if and only if it obeys complementary slackness, so of reduced costs only the
    sign counts. Leaving that face costs more than all the tables of a whole change can bring.
    ``v`` is written: potentials to start from. The tiles must have tables left.
    """
    rows, columns = digits.q.shape[1:]
    width, margin = table_width(rows, columns), margin_bits(rows, columns)
    count = np.minimum(ties.TABLES - digits.tables, _room(rows, columns))
    q, tables = np.empty_like(digits.q), digits.tables + count
    for first, number in set(zip(digits.tables.tolist(), count.tolist(), strict=True)):
        some = digits.tables == first
        start = v[some]
        q[some] = _pose_reduced_costs(
            digits.q[some], 1, number * width + margin, full, u[some], start
        ) + _tables(first, number, rows, columns)
        v[some] = start
    return Digits(q, digits.exponent, digits.exact, tables)


def _room(rows: int, columns: int) -> int:
    """How many tables at a time leave a reduced cost of one unit above them."""
    free = score_bits(rows, columns) - 2 - margin_bits(rows, columns)
    return free // table_width(rows, columns)


@functools.lru_cache(64)
def _first_tables(rows: int, columns: int) -> NDArray[np.int64]:
    """None of the tables, the first one, the first two, and so on."""
    return np.stack([_tables(0, count, rows, columns) for count in range(ties.TABLES + 1)])


def _tables(first: int, count: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Some tables above each other, the first one highest, above zero bits."""
    width, margin = table_width(rows, columns), margin_bits(rows, columns)
    total = np.zeros((rows, columns), np.int64)
    for index in range(first, first + count):
        total = (total << width) + ties.table(index, rows, columns)
    return total << margin


def _pose_reduced_costs(
    q: NDArray[np.int64],
    limit: int,
    digits: int,
    full: bool,
    u: NDArray[np.int64],
    v: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Each score as its reduced cost, clipped to +- limit, times 2**digits; v is set to match.

    A change of the mask that uses a reduced cost (or, on a partial tile, a price) beyond a limit >=
    1 costs as much as the limit, whatever else it does. So where the digits to come bring less, the
    optimal masks are those of the whole scores, and potentials of one problem serve the other.
    """
    reduced = np.clip(q - u[:, :, None] - v[:, None, :], -limit, limit)
    if full:
        v[:] = 0
    else:
        prices = np.minimum(v, limit)
        reduced += np.minimum(u, limit)[:, :, None] + prices[:, None, :]
        v[:] = prices << digits
    posed: NDArray[np.int64] = reduced << digits
    return posed
