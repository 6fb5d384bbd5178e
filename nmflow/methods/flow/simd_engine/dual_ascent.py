"""Midpoint dual ascent on 32 tiles of 16-bit scores side by side, one tile a lane.

The same coordinate ascent as in :mod:`nmflow.methods.flow.scalar.dual_ascent`: a potential between
the n-th and the (n+1)-th largest of a row (or column) of reduced scores. Potentials are guesses:
where a difference does not fit 16 bits, which takes scores and potentials from both ends of the
range, the guess is a bad one. What they prove is looked at with care, by :func:`threshold`.
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
from nmflow.simd.order_statistics import ranked
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store

LIMIT = 1 << 14
"""With potentials from -LIMIT to LIMIT - 1 the largest score is kept and the smallest pruned."""


@inlined
def midpoint(upper, lower):
    """Between two neighbouring ranks, rounded down."""
    return (upper & lower) + ((upper ^ lower) >> like(upper, 1))


@inlined
def relaxed_midpoint(upper, lower, old, share):
    """Beyond the middle of two neighbouring ranks, by a share of the move; kept between them.

    The share is the sum of two powers of two, given by how far each shifts to the right. Should a
    sum not fit 16 bits, that is but a worse guess between the two.
    """
    middle = midpoint(upper, lower)
    move = middle - old
    ahead = middle + (move >> like(move, share[0])) + (move >> like(move, share[1]))
    return maximum(minimum(ahead, upper - like(upper, 1)), lower)


@inlined
def plain_midpoint(upper, lower, _old, _share):
    """The middle, wherever the potential was."""
    return midpoint(upper, lower)


@inlined
def step(lanes, along, across, prices, potentials, choose_between, share, shape):
    """Set the potential of each row; or of each column, with the two strides exchanged."""
    for i in range(shape.m):
        upper, lower = ranked(lanes, i * across, along, prices, shape)
        old = load(potentials, i * LANES)
        store(potentials, i * LANES, choose_between(upper, lower, old, share))


@inlined
def ascend(lanes, u, v, choose_between, share, shape):
    """Move u, then v, each to what is chosen between two neighbouring ranks."""
    pitch = (shape.m + 1) * LANES
    step(lanes, LANES, pitch, v, u, choose_between, share, shape)
    step(lanes, pitch, LANES, u, v, choose_between, share, shape)


@helper
def centre(lanes, u, v, shape):
    """Move what proves a mask as far as may be from what would not."""
    ascend(lanes, u, v, plain_midpoint, None, shape)


@inlined
def count(planes, kept, shape):
    """Count the bits of a word in their places: digit k of all counts is in the k-th plane.

    As many digits as the numbers below m have: a count of m is taken for none.
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
    """Those of a word's columns, a bit each, that were not counted n times."""
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
    """Keep what exceeds u + v: a bit each into ``words``; which lanes are settled.

    Returns a vector of -1 where every row and column holds n. There the mask is the only optimal
    one, since kept entries are at least one unit above u + v and pruned ones at most at u + v; and
    that is also true of scores of which these are the floors. Saturation of score - v changes no
    comparison with u, unless u is the largest number there is, and then the row holds none. Where
    the scores themselves are saturated, see :func:`within_limits`.
    """
    m = shape.m
    pitch = (m + 1) * LANES
    none = load(u, 0) ^ load(u, 0)
    wanted, settled = like(none, shape.n), like(none, -1)
    left = right = none, none, none, none, none
    for i in range(m):
        u_i = load(u, i * LANES)
        first, second = none, none
        for j in range(min(m, ROW)):
            slack = subtract_saturating(load(lanes, i * pitch + j * LANES), load(v, j * LANES))
            first = first | (greater(slack, u_i) & load(bits, j * LANES))
        for j in range(ROW, m):
            slack = subtract_saturating(load(lanes, i * pitch + j * LANES), load(v, j * LANES))
            second = second | (greater(slack, u_i) & load(bits, j * LANES))
        settled = settled & equal(ones_count(first) + ones_count(second), wanted)
        left = count(left, first, shape)
        if m > ROW:
            right = count(right, second, shape)
        store_words(words, i * shape.halves * LANES, first, second, shape)
    wrong = miscounted(left, bits, 0, min(m, ROW), shape)
    if m > ROW:
        wrong = wrong | miscounted(right, bits, ROW, m, shape)
    return settled & equal(wrong, none)


@helper
def within_limits(lanes, u, v, settled, shape):
    """The settled lanes where no score far off is on the wrong side, be it saturated or not.

    Those of LIMIT - 1 and more must be kept, and those of -LIMIT and less pruned.
    """
    highest = like(settled, LIMIT - 1)
    lowest = like(settled, -LIMIT)
    for i in range(shape.m):
        u_i = load(u, i * LANES)
        for j in range(shape.m):
            score = load(lanes, (i * (shape.m + 1) + j) * LANES)
            kept = greater(subtract_saturating(score, load(v, j * LANES)), u_i)
            right = choose(kept, greater(score, lowest), greater(highest, score))
            settled = settled & right
    return settled
