"""Midpoint dual ascent on 32 tiles of 16-bit scores side by side, one tile a lane.

The same coordinate ascent as in :mod:`nmflow.kernels.dual_ascent`: a potential between the n-th
and the (n+1)-th largest of a row (or column) of reduced scores. Sums saturate, which loses nothing
as long as the potentials stay within half the range: see :func:`threshold`.
"""

from __future__ import annotations

from numba.extending import register_jitable

from nmflow.simd.lanes import add_saturating, greater, like, ones_count, ranked
from nmflow.simd.lanes import equal, subtract_saturating
from nmflow.simd.static import LANES
from nmflow.simd.vectors import load, maximum, minimum, store

HIGHEST = (1 << 15) - 1
LIMIT = 1 << 14
"""With potentials from -LIMIT to LIMIT - 1 the largest score is kept and the smallest pruned."""


@register_jitable(forceinline=True)
def relaxed_midpoint(upper, lower, old):
    """Three quarters of a step beyond the middle of two neighbouring ranks, kept between them."""
    one = like(old, 1)
    middle = (upper >> one) + (lower >> one) + (upper & lower & one)
    move = subtract_saturating(middle, old)
    ahead = add_saturating(middle, (move >> one))
    return maximum(minimum(ahead, subtract_saturating(upper, one)), lower)


@register_jitable
def step(lanes, along, across, prices, potentials, shape):
    """Set the potential of each row; or of each column, with the two strides exchanged."""
    for i in range(shape.m):
        upper, lower = ranked(lanes, i * across, along, prices, shape)
        old = load(potentials, i * LANES)
        store(potentials, i * LANES, relaxed_midpoint(upper, lower, old))


@register_jitable
def ascend(lanes, u, v, shape):
    """One round: rows, then columns."""
    pitch = (shape.m + 1) * LANES
    step(lanes, LANES, pitch, v, u, shape)
    step(lanes, pitch, LANES, u, v, shape)


@register_jitable
def threshold(lanes, u, v, bits, patterns, held, shape):
    """Keep what exceeds u + v: each row's bits into ``patterns``; which lanes are settled.

    Returns a vector of -1 where every row and column holds n. There the mask is the only optimal
    one, since kept entries are at least one unit above u + v and pruned ones at most at u + v; and
    that is also true of scores of which these are the floors. Saturation of score - v changes no
    comparison with u, unless u is the largest number there is. Where the scores themselves are
    saturated, see :func:`within_limits`.
    """
    m = shape.m
    pitch = (m + 1) * LANES
    none = load(u, 0) ^ load(u, 0)
    wanted, highest = like(none, shape.n), like(none, HIGHEST)
    settled = like(none, -1)
    for j in range(m):
        store(held, j * LANES, none)
    for i in range(m):
        u_i = load(u, i * LANES)
        settled = settled & greater(highest, u_i)
        count = none
        for half in range(shape.halves):
            pattern = none
            for j in range(16 * half, min(m, 16 * half + 16)):
                score = load(lanes, i * pitch + j * LANES)
                keep = greater(subtract_saturating(score, load(v, j * LANES)), u_i)
                pattern = pattern | (keep & load(bits, j * LANES))
                store(held, j * LANES, load(held, j * LANES) - keep)
            store(patterns, (i * shape.halves + half) * LANES, pattern)
            count = count + ones_count(pattern)
        settled = settled & equal(count, wanted)
    for j in range(m):
        settled = settled & equal(load(held, j * LANES), wanted)
    return settled


@register_jitable
def within_limits(settled, u, v, shape):
    """The settled lanes whose potentials keep every saturated score on its side of u + v."""
    for k in range(shape.m * LANES):
        if not (-LIMIT <= u[k] < LIMIT and -LIMIT <= v[k] < LIMIT):
            settled[k % LANES] = 0
