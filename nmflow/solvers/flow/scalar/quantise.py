"""Scores as 64-bit integers: their leading digits first, then as many more as a tile asks for.

In units of a power of two, q = floor(score) leaves a fraction below one unit per entry. Where the
mask that q asks for is not strict, the fractions or the tie tables have to decide between masks
that q holds nearly equal; see :func:`zoom` and :func:`pose_ties`.
"""

from __future__ import annotations

import math

import numpy as np

from nmflow.compiling.jit import helper
from nmflow.problem.ties import TABLES, entry
from nmflow.solvers.flow.scalar.bits import bit_length, margin_bits, table_width
from nmflow.solvers.flow.scalar.workspace import potentials

# Compiled from its source, so that there is one.
helper(entry)


@helper
def tie_tables(rows, columns):
    """All tables of :mod:`nmflow.problem.ties`, shape (TABLES, rows, columns)."""
    tables = np.empty((TABLES, rows, columns), np.int64)
    for k in range(TABLES):
        for i in range(rows):
            for j in range(columns):
                tables[k, i, j] = entry(k, i, j)
    return tables


@helper
def largest_exponent(words):
    """The least e with every |score| < 2**e, from the words that hold the scores.

    Without their signs they are ordered as the scores are.
    """
    largest = 0
    for i in range(words.shape[0]):
        for j in range(words.shape[1]):
            magnitude = words[i, j] & (2**63 - 1)
            largest = magnitude if magnitude > largest else largest
    largest = int(largest)
    field = largest >> 52
    return field - 1022 if field else bit_length(largest) - 1074


@helper
def leading_digits(scores, bits, q):
    """Floor of the scores times 2**exponent, below 2**bits; (exponent, whether nothing is lost)."""
    exponent = bits - largest_exponent(scores.view(np.int64))
    # The factor may be beyond float64 where the scores are subnormal. Each product is exact but
    # where it is subnormal itself, far below one unit.
    first = min(exponent, 1000)
    near, far = math.ldexp(1.0, first), math.ldexp(1.0, exponent - first)
    lost = 0
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            score = scores[i, j]
            value = score * near * far
            whole = np.int64(math.floor(value))
            # A negative score that scaling made -0.0 still floors to -1.
            whole -= 1 if value == 0 and score < 0 else 0
            lost += (whole != value) | ((value == 0) & (score != 0))
            q[i, j] = whole
    return exponent, lost == 0


@helper
def next_digits(score, shift, digits):
    """Bits of floor(score * 2**shift) below 2**digits; whether the score has more."""
    fraction, exponent = math.frexp(score)
    mantissa = np.int64(math.ldexp(fraction, 53))
    shift += exponent - 53
    mask = (1 << digits) - 1
    if shift >= 0:
        return (mantissa << shift) & mask if shift < 63 else 0, False
    shift = min(-shift, 62)
    return (mantissa >> shift) & mask, mantissa & ((1 << shift) - 1) != 0


@helper
def clip(value, limit):
    """``value`` or the nearest of -limit and limit."""
    return min(max(value, -limit), limit)


@helper
def pose_reduced_costs(limit, digits, full, work):
    """Replace each score by its reduced cost, clipped to +- limit, times 2**digits; v to match.

    A change of the mask that uses a reduced cost (or, on a partial tile, a price) beyond a limit >=
    1 costs as much as the limit, whatever else it does. So where the digits to come bring less, the
    optimal masks are those of the whole scores, and potentials of one problem serve the other.
    """
    q = work.by_row[0]
    u, v = potentials(work)
    for i in range(u.size):
        for j in range(v.size):
            reduced = clip(q[i, j] - u[i] - v[j], limit)
            if not full:
                reduced += min(u[i], limit) + min(v[j], limit)
            q[i, j] = reduced << digits
    for j in range(v.size):
        v[j] = 0 if full else min(v[j], limit) << digits


@helper
def zoom(scores, exponent, bits, full, work):
    """Pose the same tile with more digits, given optimal potentials for those so far.

    The digits that were not looked at make a change of m additions better by less than m units, so
    reduced costs beyond that are clipped. Returns the exponent of the new unit and whether no
    digits are left.
    """
    q = work.by_row[0]
    rows, columns = q.shape
    limit = max(rows, columns) + 1
    digits = bits - bit_length(3 * limit)
    exponent += digits
    pose_reduced_costs(limit, digits, full, work)
    exact = True
    for i in range(rows):
        for j in range(columns):
            digit, more = next_digits(scores[i, j], exponent, digits)
            q[i, j] += digit
            exact = exact and not more
    return exponent, exact


@helper
def add_tables(tables, first, count, q):
    """Put the tables first ... first + count - 1 into the low bits of q, which are zero."""
    rows, columns = q.shape
    width, margin = table_width(rows, columns), margin_bits(rows, columns)
    for k in range(count):
        shift = margin + width * (count - 1 - k)
        for i in range(rows):
            for j in range(columns):
                q[i, j] += tables[first + k, i, j] << shift


@helper
def fold_ties(tables, q):
    """Put as many tables into low bits that no score uses as fit there; how many."""
    rows, columns = q.shape
    used = np.int64(0)
    for i in range(rows):
        for j in range(columns):
            used |= q[i, j]
    free = 0
    while free < 62 and not (used >> free) & 1:
        free += 1
    count = (free - margin_bits(rows, columns)) // table_width(rows, columns)
    count = max(0, min(TABLES, count))
    add_tables(tables, 0, count, q)
    return count


@helper
def pose_ties(tables, first, bits, full, work):
    """Pose the choice between optimal masks of exact scores: the next tie tables; how many.

    A mask is optimal if and only if it obeys complementary slackness, so of reduced costs only the
    sign counts. Leaving that face costs more than all the tables of a whole change can bring.
    """
    q = work.by_row[0]
    rows, columns = q.shape
    width, margin = table_width(rows, columns), margin_bits(rows, columns)
    count = min(TABLES - first, (bits - 2 - margin) // width)
    if count > 0:
        pose_reduced_costs(1, count * width + margin, full, work)
        add_tables(tables, first, count, q)
    return count
