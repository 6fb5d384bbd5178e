"""Partial tiles, whose rows and columns keep at most n: 32 side by side in int16 lanes.

Dual ascent as on full tiles (:mod:`dual_ascent`), but potentials are prices here: never negative,
and positive only for a row or column that holds n. A tile is padded to a square with scores that
are never kept.
"""

from __future__ import annotations

from nmflow.compiling.jit import compile_kernel, helper, inlined
from nmflow.simd.integers import equal, greater, like
from nmflow.simd.tile_shape import LANES
from nmflow.simd.vectors import load, maximum, store
from nmflow.solvers.flow.simd_engine.dual_ascent import ascend, relaxed_midpoint, step
from nmflow.solvers.flow.simd_engine.fixed_point import (
    WORTHLESS,
)

ROUNDS = 18


@inlined
def price(upper, lower, old, relaxation):
    """As :func:`relaxed_midpoint`, but not below 0."""
    return maximum(relaxed_midpoint(upper, lower, old, relaxation), like(old, 0))


@helper
def read_tile(digits, t, lane, lanes, shape):
    """Copy a tile's scores into its lane."""
    for i in range(digits.shape[1]):
        for j in range(digits.shape[2]):
            lanes[(i * (shape.m + 1) + j) * LANES + lane] = digits[t, i, j]


@helper
def find_prices(rows, columns, lanes, u, v, relaxation, shape):
    """Ascend; where columns are scarce, from prices of columns alone."""
    for k in range(u.size):
        u[k], v[k] = 0, 0
    if columns < rows:
        step(lanes, (shape.m + 1) * LANES, LANES, u, v, price, relaxation, shape)
    for _ in range(ROUNDS):
        ascend(lanes, u, v, price, relaxation, shape)


@inlined
def fits(held, prices, k, shape):
    """Whether rows or columns hold n, or fewer at price 0."""
    wanted, price_of = like(held, shape.n), load(prices, k * LANES)
    return equal(held, wanted) | (greater(wanted, held) & equal(price_of, like(held, 0)))


@helper
def prove(rows, columns, lanes, u, v, held, shape):
    """Which tiles have one optimal mask, in what exceeds u + v.

    Kept entries are at least u + v + 1, pruned ones at most u + v - 1, in floors: so the scores,
    whose dropped fractions are below 1, meet complementary slackness strictly.

    Returns
    -------
    vector of int16
        -1 where proved, else 0.
    """
    none = load(u, 0) ^ load(u, 0)
    proved_lanes = like(none, -1)
    for j in range(columns):
        store(held, j * LANES, none)
    for i in range(rows):
        u_i, in_row = load(u, i * LANES), none
        for j in range(columns):
            index = (i * (shape.m + 1) + j) * LANES
            # A score is at least -1 and a price at least 0, so that the difference fits.
            reduced = load(lanes, index) - load(v, j * LANES)
            kept = greater(reduced, u_i)
            proved_lanes = proved_lanes & (kept | greater(u_i, reduced))
            in_row = in_row - kept
            store(held, j * LANES, load(held, j * LANES) - kept)
        proved_lanes = proved_lanes & fits(in_row, u, i, shape)
    for j in range(columns):
        proved_lanes = proved_lanes & fits(load(held, j * LANES), v, j, shape)
    return proved_lanes


@compile_kernel(nrt=False)
def solve_partial_batch(
    digits, lanes, u, v, held, shape, relaxation, mask, proved_lanes, proved, prices
):  # fmt: skip
    """Masks of partial tiles, and which of them are proved to be the only optimal ones.

    Parameters
    ----------
    digits : int16 array, shape (T, r, c)
        Floors of the scores, at least WORTHLESS.
    lanes, u, v, held : int16
        Scratch memory for ``(m + 1) * m`` vectors of 32, and ``m`` each.
    shape : TileShape
        Of n and max(r, c).
    relaxation : (int, int)
        See :func:`dual_ascent.relaxed_midpoint`.
    mask : bool array, shape (T, r, c)
        Written.
    proved_lanes : (32,) int16
        Scratch memory.
    proved : bool array, shape (T,)
        Written.
    prices : int16 array, shape (T, c)
        Written: prices of columns, in the digits' units.
    """
    total, rows, columns = digits.shape
    for index in range(lanes.size):
        lanes[index] = WORTHLESS
    for first in range(0, total, LANES):
        count = LANES if total - first > LANES else total - first
        for lane in range(count):
            read_tile(digits, first + lane, lane, lanes, shape)
        find_prices(rows, columns, lanes, u, v, relaxation, shape)
        store(proved_lanes, 0, prove(rows, columns, lanes, u, v, held, shape))
        for lane in range(count):
            t = first + lane
            proved[t] = proved_lanes[lane] != 0
            for i in range(rows):
                for j in range(columns):
                    index = (i * (shape.m + 1) + j) * LANES + lane
                    mask[t, i, j] = lanes[index] - v[j * LANES + lane] > u[i * LANES + lane]
            for j in range(columns):
                prices[t, j] = v[j * LANES + lane]
