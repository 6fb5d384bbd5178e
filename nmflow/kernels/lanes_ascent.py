"""Midpoint dual ascent on 32 tiles of 16-bit scores side by side, one tile a lane.

The same coordinate ascent as in :mod:`nmflow.kernels.dual_ascent`: a potential between the n-th
and the (n+1)-th largest of a row (or column) of reduced scores. Sums saturate, which loses nothing
as long as the potentials stay within half the range: see :func:`threshold`.
"""

from __future__ import annotations

from nmflow.kernels.jit import helper, inlined
from nmflow.simd.lanes import (
    add_saturating,
    choose,
    equal,
    greater,
    like,
    ones_count,
    subtract_saturating,
)
from nmflow.simd.layout import store_words
from nmflow.simd.ranks import ranked
from nmflow.simd.static import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store

HIGHEST = (1 << 15) - 1
LIMIT = 1 << 14
"""With potentials from -LIMIT to LIMIT - 1 the largest score is kept and the smallest pruned."""


@inlined
def share(number, shape):
    """What of a move is added to it: the larger the tiles, the more rounds it has to reach far."""
    one, two = like(number, 1), like(number, 2)
    if shape.m <= 8:
        return number >> two
    if shape.m <= ROW:
        return (number >> one) + (number >> like(number, 3))
    return (number >> one) + (number >> two)


@inlined
def relaxed_midpoint(upper, lower, old, shape):
    """Beyond the middle of two neighbouring ranks, by a share of the move; kept between them."""
    one = like(old, 1)
    middle = (upper >> one) + (lower >> one)
    ahead = subtract_saturating(middle, share(old, shape))
    ahead = add_saturating(ahead, share(middle, shape))
    return maximum(minimum(ahead, subtract_saturating(upper, one)), lower)


@inlined
def midpoint(upper, lower, _old, _shape):
    """Between two neighbouring ranks, rounded down."""
    one = like(upper, 1)
    return (upper >> one) + (lower >> one) + (upper & lower & one)


@inlined
def step(lanes, along, across, prices, potentials, choose_between, shape):
    """Set the potential of each row; or of each column, with the two strides exchanged."""
    for i in range(shape.m):
        upper, lower = ranked(lanes, i * across, along, prices, shape)
        old = load(potentials, i * LANES)
        store(potentials, i * LANES, choose_between(upper, lower, old, shape))


@inlined
def ascend(lanes, u, v, shape):
    """Move u and v in turn; v is moved last."""
    pitch = (shape.m + 1) * LANES
    step(lanes, LANES, pitch, v, u, relaxed_midpoint, shape)
    step(lanes, pitch, LANES, u, v, relaxed_midpoint, shape)


@helper
def centre(lanes, u, v, shape):
    """Move what proves a mask as far as may be from what would not."""
    pitch = (shape.m + 1) * LANES
    step(lanes, LANES, pitch, v, u, midpoint, shape)
    step(lanes, pitch, LANES, u, v, midpoint, shape)


@inlined
def threshold(lanes, u, v, bits, words, shape):
    """Keep what exceeds u + v: a bit each into ``words``; which lanes are settled.

    Returns a vector of -1 where every row and column holds n. There the mask is the only optimal
    one, since kept entries are at least one unit above u + v and pruned ones at most at u + v; and
    that is also true of scores of which these are the floors. Saturation of score - v changes no
    comparison with u, unless u is the largest number there is. Where the scores themselves are
    saturated, see :func:`within_limits`.

    Columns need not be counted: their potentials were set last, so that none holds more than n,
    and n m entries are kept.
    """
    m = shape.m
    pitch = (m + 1) * LANES
    none = load(u, 0) ^ load(u, 0)
    wanted, highest = like(none, shape.n), like(none, HIGHEST)
    settled = like(none, -1)
    for i in range(m):
        u_i = load(u, i * LANES)
        settled = settled & greater(highest, u_i) & greater(highest, load(v, i * LANES))
        first, second = none, none
        for j in range(min(m, ROW)):
            slack = subtract_saturating(load(lanes, i * pitch + j * LANES), load(v, j * LANES))
            first = first | (greater(slack, u_i) & load(bits, j * LANES))
        for j in range(ROW, m):
            slack = subtract_saturating(load(lanes, i * pitch + j * LANES), load(v, j * LANES))
            second = second | (greater(slack, u_i) & load(bits, j * LANES))
        settled = settled & equal(ones_count(first) + ones_count(second), wanted)
        store_words(words, i * shape.halves * LANES, first, second, shape)
    return settled


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
