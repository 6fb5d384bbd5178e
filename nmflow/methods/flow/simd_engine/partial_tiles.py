"""Partial tiles, of which rows and columns keep at most n: 32 side by side in 16-bit lanes.

Dual ascent as on full tiles (:mod:`nmflow.methods.flow.simd_engine.dual_ascent`), but potentials are prices
here, never below zero, and only a row or column that is full may have one. A tile is padded to a
square with what no price could make worth keeping.
"""

from __future__ import annotations

import math

import numpy as np

from nmflow.compiling.jit import compile_kernel, helper, inlined
from nmflow.methods.flow.scalar.quantise import leading_digits
from nmflow.methods.flow.simd_engine.dual_ascent import ascend, relaxed_midpoint, step
from nmflow.simd.integers import equal, greater, like
from nmflow.simd.tile_shape import LANES
from nmflow.simd.vectors import load, maximum, store

BITS = 15
"""Of a score, which is never negative where it matters."""
WORTHLESS = -1
"""The score of what is never kept: padding, and whatever is negative."""
ROUNDS = 18


@inlined
def price(upper, lower, old, share):
    """As :func:`relaxed_midpoint`, where a price is needed at all."""
    return maximum(relaxed_midpoint(upper, lower, old, share), like(old, 0))


@helper
def read_tile(scores, lane, digits, lanes, shape):
    """Floor a tile's scores into its lane; which power of two they were multiplied by."""
    exponent, _ = leading_digits(scores, BITS, digits)
    for i in range(digits.shape[0]):
        for j in range(digits.shape[1]):
            place = (i * (shape.m + 1) + j) * LANES + lane
            lanes[place] = np.int16(max(digits[i, j], WORTHLESS))
    return exponent


@helper
def find_prices(rows, columns, lanes, u, v, share, shape):
    """Ascend, from prices of columns alone where those are scarce."""
    u[:] = 0
    v[:] = 0
    if columns < rows:
        step(lanes, (shape.m + 1) * LANES, LANES, u, v, price, share, shape)
    for _ in range(ROUNDS):
        ascend(lanes, u, v, price, share, shape)


@inlined
def fits(held, prices, k, shape):
    """Whether rows or columns hold n, or at most n at no price."""
    wanted, price_of = like(held, shape.n), load(prices, k * LANES)
    return equal(held, wanted) | (greater(wanted, held) & equal(price_of, like(held, 0)))


@helper
def prove(rows, columns, lanes, u, v, held, shape):
    """Which lanes have an optimal mask, and no other, in what exceeds u + v.

    Kept entries are a unit above the prices, and pruned ones must be below them even with the
    fraction that was dropped; so the scores themselves, with u and v, meet the conditions of
    complementary slackness strictly.
    """
    none = load(u, 0) ^ load(u, 0)
    proved = like(none, -1)
    for j in range(columns):
        store(held, j * LANES, none)
    for i in range(rows):
        u_i, in_row = load(u, i * LANES), none
        for j in range(columns):
            place = (i * (shape.m + 1) + j) * LANES
            # A score is at least -1 and a price at least 0, so that the difference fits.
            left = load(lanes, place) - load(v, j * LANES)
            kept = greater(left, u_i)
            proved = proved & (kept | greater(u_i, left))
            in_row = in_row - kept
            store(held, j * LANES, load(held, j * LANES) - kept)
        proved = proved & fits(in_row, u, i, shape)
    for j in range(columns):
        proved = proved & fits(load(held, j * LANES), v, j, shape)
    return proved


@compile_kernel
def settle_partial(scores, lanes, u, v, held, shape, share, mask, settled, start):
    """Masks of partial tiles, and which of them are proved to be the only optimal ones.

    Parameters
    ----------
    scores : float64 array, shape (T, r, c)
    lanes, u, v, held : int16, working memory for ``(m + 1) * m`` vectors, and ``m`` each
    shape : TileShape
        Of n and max(r, c).
    share : pair of int
        See :func:`nmflow.methods.flow.simd_engine.dual_ascent.relaxed_midpoint`.
    mask : bool array, shape (T, r, c), written
    settled : bool array, shape (T,), written
    start : float64 array, shape (T, c)
        Written: prices of columns, for those that are not settled.
    """
    total, rows, columns = scores.shape
    digits = np.empty((rows, columns), np.int64)
    exponents = np.empty(LANES, np.int64)
    proved = np.empty(LANES, np.int16)
    lanes[:] = WORTHLESS
    for first in range(0, total, LANES):
        count = min(LANES, total - first)
        for lane in range(count):
            exponents[lane] = read_tile(scores[first + lane], lane, digits, lanes, shape)
        find_prices(rows, columns, lanes, u, v, share, shape)
        store(proved, 0, prove(rows, columns, lanes, u, v, held, shape))
        for lane in range(count):
            t = first + lane
            settled[t] = proved[lane] != 0
            for i in range(rows):
                for j in range(columns):
                    place = (i * (shape.m + 1) + j) * LANES + lane
                    mask[t, i, j] = lanes[place] - v[j * LANES + lane] > u[i * LANES + lane]
            for j in range(columns):
                start[t, j] = math.ldexp(float(v[j * LANES + lane]), -exponents[lane])
