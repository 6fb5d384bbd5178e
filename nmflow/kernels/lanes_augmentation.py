"""Successive shortest paths in lanes: tiles whose dual ascent stalls, finished 32 side by side.

Coordinate ascent may stall where many scores are equal: no single potential can improve, yet some
rows hold more than n and some fewer. From there on it is a matter of moving units (Ahuja, Magnanti
& Orlin, Network Flows, 1993, sec. 9.7), as in :mod:`nmflow.kernels.augmentation`. What is kept has
slack w - u - v >= 0 and what is pruned <= 0 throughout, so a row in need may add pruned entries and
a column drop kept ones at no negative cost. In turn,

- units move along paths of slack 0 (:mod:`nmflow.kernels.lanes_units`);
- :func:`lengthen` all distances from rows in need, by Bellman and Ford, and let the potentials
  follow, which makes shortest paths to all columns and rows paths of slack 0,

until no row is in need. Then :func:`separate` moves the potentials between what is kept and what
is pruned. What it finds is proved by :func:`nmflow.kernels.lanes_ascent.threshold`, so whatever
goes wrong on the way, be it saturation or a limit on rounds, costs time, not exactness.
"""

from __future__ import annotations

from numba.extending import register_jitable

from nmflow.kernels.lanes_ascent import HIGHEST, LIMIT, threshold
from nmflow.kernels.lanes_units import count_units, move_units, open_lanes
from nmflow.simd.lanes import (
    add_saturating,
    any_bits,
    choose,
    equal,
    greater,
    like,
    subtract_saturating,
)
from nmflow.simd.static import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store

PHASES = 16
"""How often units and potentials move in turn."""
SWEEPS = 20
"""Sweeps over all entries in which distances must be found."""
ROUNDS = 6
"""Rounds in which potentials must come between what is kept and what is pruned."""


@register_jitable
def mark(lanes, u, v, bits, words, exact, shape):
    """Words of what exceeds u + v; or, where that is wanted, of what equals it."""
    m = shape.m
    none = load(u, 0) ^ load(u, 0)
    for i in range(m):
        u_i = load(u, i * LANES)
        for half in range(shape.halves):
            word = none
            for j in range(half * ROW, min(m, half * ROW + ROW)):
                slack = subtract_saturating(
                    load(lanes, (i * (m + 1) + j) * LANES), load(v, j * LANES)
                )
                if exact:
                    word = word | (equal(slack, u_i) & load(bits, j * LANES))
                else:
                    word = word | (greater(slack, u_i) & load(bits, j * LANES))
            store(words, (i * shape.halves + half) * LANES, word)


@register_jitable(forceinline=True)
def bounds(lanes, start, step, prices, kept, words, turn, bits, bit, shape):
    """The largest pruned and the least kept of m differences."""
    highest = like(load(prices, 0), HIGHEST)
    lowest_number = like(highest, -HIGHEST - 1)
    below, above = lowest_number, highest
    for k in range(shape.m):
        score = subtract_saturating(load(lanes, start + k * step), load(prices, k * LANES))
        column = bit + k * (1 - turn)
        word = words + (k * turn * shape.halves + column // ROW) * LANES
        here = load(kept, word) & load(bits, column * LANES)
        above = minimum(above, choose(here, score, highest))
        below = maximum(below, choose(here, lowest_number, score))
    return below, above


@register_jitable(forceinline=True)
def row_bounds(lanes, i, v, kept, bits, shape):
    """The largest pruned and the least kept score - v of a row."""
    start = i * (shape.m + 1) * LANES
    return bounds(lanes, start, LANES, v, kept, i * shape.halves * LANES, 0, bits, 0, shape)


@register_jitable(forceinline=True)
def column_bounds(lanes, j, u, kept, bits, shape):
    """The largest pruned and the least kept score - u of a column."""
    pitch = (shape.m + 1) * LANES
    return bounds(lanes, j * LANES, pitch, u, kept, 0, 1, bits, j, shape)


@register_jitable
def lengthen(lanes, u, v, bits, work, shape):
    """Distances from rows in need, as potentials that follow them; where they are complete."""
    m = shape.m
    none = load(u, 0) ^ load(u, 0)
    for i in range(m):
        source = greater(load(work.need, i * LANES), none)
        store(work.row, i * LANES, choose(source, load(u, i * LANES), like(none, HIGHEST)))
    changed = none
    moved = open_lanes(work, shape)
    for _ in range(SWEEPS):
        changed = none
        for j in range(m):
            below, _ = column_bounds(lanes, j, work.row, work.kept, bits, shape)
            # No farther than LIMIT.
            least = subtract_saturating(load(v, j * LANES), like(none, LIMIT))
            store(work.column, j * LANES, maximum(below, least))
        for i in range(m):
            _, above = row_bounds(lanes, i, work.column, work.kept, bits, shape)
            old = load(work.row, i * LANES)
            most = add_saturating(load(u, i * LANES), like(none, LIMIT))
            new = minimum(minimum(old, above), most)
            changed = changed | (old ^ new)
            store(work.row, i * LANES, new)
        if any_bits(changed & moved) == 0:
            break
    moved = moved & equal(changed, none)
    for k in range(0, m * LANES, LANES):
        store(u, k, choose(moved, load(work.row, k), load(u, k)))
        store(v, k, choose(moved, load(work.column, k), load(v, k)))
    return moved


@register_jitable(forceinline=True)
def between(below, above):
    """Their middle, rounded down; not far from zero where there is a choice."""
    one = like(below, 1)
    near = like(below, LIMIT >> 1)
    far = near ^ like(below, -1)
    below, above = (
        maximum(below, minimum(far, subtract_saturating(above, one))),
        minimum(above, maximum(near, add_saturating(below, one))),
    )
    return (below >> one) + (above >> one) + (below & above & one)


@register_jitable
def separate(lanes, u, v, bits, work, lost, shape):
    """Potentials between what is kept and what is pruned; where they are, v last."""
    m = shape.m
    apart = lost ^ lost
    for _ in range(ROUNDS):
        for i in range(m):
            below, above = row_bounds(lanes, i, v, work.kept, bits, shape)
            old = load(u, i * LANES)
            store(u, i * LANES, choose(lost, between(below, above), old))
        apart = like(lost, -1)
        for j in range(m):
            below, above = column_bounds(lanes, j, u, work.kept, bits, shape)
            apart = apart & greater(above, below)
            old = load(v, j * LANES)
            store(v, j * LANES, choose(lost, between(below, above), old))
        if any_bits(lost & (apart ^ like(lost, -1))) == 0:
            break
    return apart


@register_jitable
def balance(lanes, u, v, bits, work, shape):
    """Move units, and potentials, until all rows and columns of all lanes hold n, or a limit."""
    mark(lanes, u, v, bits, work.kept, False, shape)
    count_units(work, bits, shape)
    for _ in range(PHASES):
        mark(lanes, u, v, bits, work.tight, True, shape)
        move_units(work, shape)
        if any_bits(open_lanes(work, shape)) == 0:
            break
        if any_bits(lengthen(lanes, u, v, bits, work, shape)) == 0:
            break


@register_jitable
def finish(lanes, u, v, bits, words, settled, work, shape):
    """Settle lanes that are balanced; which are settled."""
    balanced = equal(open_lanes(work, shape), settled ^ settled)
    lost = equal(settled, settled ^ settled) & balanced
    apart = separate(lanes, u, v, bits, work, lost, shape)
    strict = threshold(lanes, u, v, bits, words, shape)
    return strict & (apart | (lost ^ like(lost, -1)))
