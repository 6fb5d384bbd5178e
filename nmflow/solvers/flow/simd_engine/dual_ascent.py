"""Midpoint dual ascent on 32 tiles of 16-bit scores side by side, one tile a lane.

The coordinate ascent of :mod:`nmflow.solvers.flow.scalar.dual_ascent`: each potential moves between
the n-th and the (n+1)-th largest score less potential of its row or column. What it finds are
guesses: a difference that leaves 16 bits, between scores and potentials from both ends of the
window, makes a bad one. Only :func:`threshold` proves, and does so without overflow.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper, inlined
from nmflow.simd.integers import (
    choose,
    equal,
    greater,
    like,
    ones_count,
    subtract_saturating,
)
from nmflow.simd.layout import store_words
from nmflow.simd.order_statistics import nth_and_next_largest
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store
from nmflow.solvers.flow.simd_engine.fixed_point import (
    WINDOW_LIMIT,
)


@inlined
def midpoint(upper, lower):
    """Between two neighbouring ranks, rounded down, without overflow."""
    return (upper & lower) + ((upper ^ lower) >> like(upper, 1))


@inlined
def relaxed_midpoint(upper, lower, old, relaxation):
    """Beyond the middle of two neighbouring ranks, kept between them: over-relaxation.

    Parameters
    ----------
    upper, lower : vectors of int16
        The n-th and the (n+1)-th largest; the potential may be anything from lower to upper - 1.
    old : vector of int16
        The potential so far.
    relaxation : (int, int)
        The share of the move that is added to it is 2**-first + 2**-second. A sum that leaves 16
        bits is but a worse guess.
    """
    middle = midpoint(upper, lower)
    move = middle - old
    relaxed = middle + (move >> like(move, relaxation[0])) + (move >> like(move, relaxation[1]))
    return maximum(minimum(relaxed, upper - like(upper, 1)), lower)


@inlined
def plain_midpoint(upper, lower, _old, _share):
    """The middle, wherever the potential was."""
    return midpoint(upper, lower)


@inlined
def step(lanes, along, across, fixed, moving, choose_between, relaxation, shape):
    """Move the potentials of the rows, or of the columns with the two strides exchanged.

    Parameters
    ----------
    lanes : see :class:`tile_batch.TileBatch`
    along, across : int
        Strides from one entry of a line to the next, and from one line to the next.
    fixed, moving : (m * 32,) int16
        Potentials of the lines that cross these, and of these, which are written.
    choose_between : function
        Of (upper, lower, old, relaxation), as :func:`relaxed_midpoint`.
    """
    for i in range(shape.m):
        upper, lower = nth_and_next_largest(lanes, i * across, along, fixed, shape)
        old = load(moving, i * LANES)
        store(moving, i * LANES, choose_between(upper, lower, old, relaxation))


@inlined
def ascend(lanes, u, v, choose_between, relaxation, shape):
    """One round: the potentials of all rows, then of all columns."""
    pitch = (shape.m + 1) * LANES
    step(lanes, LANES, pitch, v, u, choose_between, relaxation, shape)
    step(lanes, pitch, LANES, u, v, choose_between, relaxation, shape)


@helper
def centre(lanes, u, v, shape):
    """A round of plain midpoints, the farthest from where the mask would cease to be proved."""
    ascend(lanes, u, v, plain_midpoint, None, shape)


@inlined
def count(planes, kept, shape):
    """Add the bits of a word to counters, one to each bit position: plane k has digit k of all.

    As many digits as the numbers below m have: a count of m reads 0, which is as wrong for 1 <= n <
    m.
    """
    ones, twos, fours, eights, sixteens = planes
    twice = ones & kept
    four_times = twos & twice
    ones, twos = ones ^ kept, twos ^ twice
    if shape.m > 4:
        eight_times = fours & four_times
        fours = fours ^ four_times
        if shape.m > 8:
            sixteens = sixteens ^ (eights & eight_times)
            eights = eights ^ eight_times
    return ones, twos, fours, eights, sixteens


@inlined
def miscounted(planes, bits, first, last, shape):
    """A bit for each of the columns first ... last - 1 that was not counted n times."""
    columns = load(bits, first * LANES)
    wrong = columns ^ columns
    for j in range(first + 1, last):
        columns = columns | load(bits, j * LANES)
    for digit, plane in enumerate(planes):
        wanted = like(columns, -(shape.n >> digit & 1)) & columns
        wrong = wrong | (plane ^ wanted)
    return wrong


@inlined
def threshold(lanes, u, v, bits, words, shape):
    """Keep what exceeds u + v; which tiles are thereby solved.

    Parameters
    ----------
    lanes, u, v, bits, words : see :class:`tile_batch.TileBatch`; ``words`` is written

    Returns
    -------
    vector of int16
        -1 where every row and column holds n, else 0.

    Notes
    -----
    There the mask is the only optimal one: kept entries are at least u + v + 1 and pruned ones at
    most u + v (strict complementary slackness); and that is also true of scores of which these are
    floors. That s - v saturates changes no comparison with u, unless u is the largest int16, and
    then the row holds none. Where the scores themselves were clipped, see :func:`within_limits`.
    """
    m = shape.m
    pitch = (m + 1) * LANES
    none = load(u, 0) ^ load(u, 0)
    wanted, proved = like(none, shape.n), like(none, -1)
    left = right = none, none, none, none, none
    for i in range(m):
        u_i = load(u, i * LANES)
        first, second = none, none
        for j in range(min(m, ROW)):
            reduced = subtract_saturating(load(lanes, i * pitch + j * LANES), load(v, j * LANES))
            first = first | (greater(reduced, u_i) & load(bits, j * LANES))
        for j in range(ROW, m):
            reduced = subtract_saturating(load(lanes, i * pitch + j * LANES), load(v, j * LANES))
            second = second | (greater(reduced, u_i) & load(bits, j * LANES))
        proved = proved & equal(ones_count(first) + ones_count(second), wanted)
        left = count(left, first, shape)
        if m > ROW:
            right = count(right, second, shape)
        store_words(words, i * shape.halves * LANES, first, second, shape)
    wrong = miscounted(left, bits, 0, min(m, ROW), shape)
    if m > ROW:
        wrong = wrong | miscounted(right, bits, ROW, m, shape)
    return proved & equal(wrong, none)


@helper
def within_limits(lanes, u, v, proved, shape):
    """The proved tiles in which no clipped score is on the wrong side.

    Scores of WINDOW_LIMIT - 1 and more must be kept, and those of -WINDOW_LIMIT and less pruned.
    """
    highest = like(proved, WINDOW_LIMIT - 1)
    lowest = like(proved, -WINDOW_LIMIT)
    for i in range(shape.m):
        u_i = load(u, i * LANES)
        for j in range(shape.m):
            score = load(lanes, (i * (shape.m + 1) + j) * LANES)
            kept = greater(subtract_saturating(score, load(v, j * LANES)), u_i)
            right = choose(kept, greater(score, lowest), greater(highest, score))
            proved = proved & right
    return proved
