"""Dual ascent and proof where rows and columns keep at most n: potentials are prices.

As on full tiles (:mod:`nmflow.solvers.flow.simd_engine.dual_ascent`), but never negative, and
positive only for a row or column that holds n. What is never kept has a negative score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper, inlined
from nmflow.compiling.structs import Struct
from nmflow.simd.integers import equal, greater, like, subtract_saturating
from nmflow.simd.layout import store_words
from nmflow.simd.order_statistics import nth_and_next_largest
from nmflow.simd.tile_shape import LANES, ROW, TileShape
from nmflow.simd.vectors import load, maximum, store
from nmflow.solvers.flow.simd_engine.dual_ascent import relaxed_midpoint
from nmflow.solvers.flow.simd_engine.fixed_point import LOWEST_CHANGE
from nmflow.solvers.flow.simd_engine.strips import aligned, clipped_part, lane_of


class Bounds(Struct, pointers=True):
    """How far the prices of a batch may fall, and what its columns hold; (m * 32,) each.

    Attributes
    ----------
    u_floor, v_floor : the change of a price, in units of the stage, that takes it to 0; not less
        than LOWEST_CHANGE
    held : entries that each column keeps
    to_fill : (32,) -1 for tiles that were to be filled, where they are enumerated
    """

    u_floor: NDArray[np.int16]
    v_floor: NDArray[np.int16]
    held: NDArray[np.int16]
    to_fill: NDArray[np.int16]


def new_bounds(shape: TileShape) -> Bounds:
    """Scratch memory."""
    size = shape.m * LANES
    return Bounds(*(aligned(count, np.int16) for count in (size, size, size, LANES)))


@inlined
def step(lanes, along, across, fixed, moving, floor, relaxation, shape):
    """Move the prices of the rows, or of the columns with the two strides exchanged.

    As :func:`dual_ascent.step`, but to no price below 0.
    """
    for i in range(shape.m):
        upper, lower = nth_and_next_largest(lanes, i * across, along, fixed, shape)
        old = load(moving, i * LANES)
        price = relaxed_midpoint(upper, lower, old, relaxation)
        store(moving, i * LANES, maximum(price, load(floor, i * LANES)))


@helper
def ascend(batch, bounds, relaxation, shape):
    """One round: the prices of all rows, then of all columns."""
    pitch = (shape.m + 1) * LANES
    lanes, u, v = batch.lanes, batch.u, batch.v
    step(lanes, LANES, pitch, v, u, bounds.u_floor, relaxation, shape)
    step(lanes, pitch, LANES, u, v, bounds.v_floor, relaxation, shape)


@inlined
def fits(held, price, floor, shape):
    """Whether lines hold n, or fewer at price 0."""
    wanted = like(held, shape.n)
    free = equal(price, floor) & greater(floor, like(floor, LOWEST_CHANGE))
    return equal(held, wanted) | (greater(wanted, held) & free)


@helper
def prove(batch, bounds, shape):
    """Keep what exceeds u + v; which tiles have no other optimal mask.

    Kept entries are at least u + v + 1, pruned ones at most u + v - 1, in floors: so the scores,
    whose dropped fractions are below 1, meet complementary slackness strictly.
    """
    m = shape.m
    pitch = (m + 1) * LANES
    none = load(batch.u, 0) ^ load(batch.u, 0)
    proved = like(none, -1)
    for j in range(m):
        store(bounds.held, j * LANES, none)
    for i in range(m):
        u_i = load(batch.u, i * LANES)
        first, second, in_row = none, none, none
        for j in range(m):
            score = load(batch.lanes, i * pitch + j * LANES)
            reduced = subtract_saturating(score, load(batch.v, j * LANES))
            kept = greater(reduced, u_i)
            proved = proved & (kept | greater(u_i, reduced))
            in_row = in_row - kept
            store(bounds.held, j * LANES, load(bounds.held, j * LANES) - kept)
            if j < ROW:
                first = first | (kept & load(batch.bits, j * LANES))
            else:
                second = second | (kept & load(batch.bits, j * LANES))
        proved = proved & fits(in_row, u_i, load(bounds.u_floor, i * LANES), shape)
        store_words(batch.words, i * shape.halves * LANES, first, second, shape)
    for j in range(m):
        held, v_j = load(bounds.held, j * LANES), load(batch.v, j * LANES)
        proved = proved & fits(held, v_j, load(bounds.v_floor, j * LANES), shape)
    store(batch.proved, 0, proved)


@helper
def set_floors(strips, bounds, fresh, shape):
    """Set how far each price may fall: not at all where the batch starts from 0."""
    if fresh:
        none = load(bounds.u_floor, 0) ^ load(bounds.u_floor, 0)
        for k in range(shape.m):
            store(bounds.u_floor, k * LANES, none)
            store(bounds.v_floor, k * LANES, none)
        return
    for slot in range(shape.strips):
        start, shift = slot * shape.halves * ROW, strips.shift[slot]
        for tile in range(shape.tiles):
            lane = lane_of(slot, tile, shape)
            for k in range(shape.m):
                u = strips.u[start + k * shape.tiles + tile] >> shift
                v = strips.v[start + tile * shape.m + k] >> shift
                bounds.u_floor[k * LANES + lane] = max(-u, LOWEST_CHANGE)
                bounds.v_floor[k * LANES + lane] = max(-v, LOWEST_CHANGE)


@helper
def add_prices(strips, slot, batch, shape):
    """Add the changes (units of 2**shift) that a stage found to the current prices of a strip."""
    start, shift = slot * shape.halves * ROW, strips.shift[slot]
    for tile in range(shape.tiles):
        lane = lane_of(slot, tile, shape)
        for k in range(shape.m):
            u, v = np.int32(batch.u[k * LANES + lane]), np.int32(batch.v[k * LANES + lane])
            strips.u[start + k * shape.tiles + tile] += (u - clipped_part(u)) << shift
            strips.v[start + tile * shape.m + k] += (v - clipped_part(v)) << shift
