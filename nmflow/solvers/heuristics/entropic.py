"""``entropic``: TSENOR, entropic optimal transport with capacities, rounding, local search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.simd.vectors import VECTOR_BYTES, load, maximum, minimum, splat, store
from nmflow.solvers.heuristics.moves import UNTIL_OPTIMUM, make_tile, repair
from nmflow.solvers.heuristics.ordering import (
    LAST_KEY,
    LINE_BITS,
    SCORE_SHIFT,
    network_size,
    score_key,
    sort_lanes,
    tile_scale,
)
from nmflow.solvers.heuristics.rounding import keep_group

LANES = VECTOR_BYTES // 4
_UNROLL = 4  # columns a step of the row sums, which would wait for one another otherwise
# tau <= 80 (the registry checks): exp(80) times the entries of any tile fits float32, and exp(-80)
# is normal.
_TINY = np.float32(1e-30)  # what a line sums to at least, so that no factor is infinite

# exp(x) = 2**k * 2**f with k an integer and |f| <= 1/2: a table, and eight terms of the series.
_LOG2_E = 1.0 / math.log(2.0)
_POWERS_LOW = -160
_POWERS = np.array([2.0**k for k in range(_POWERS_LOW, 160)])
_SERIES = np.array([math.log(2.0) ** k / math.factorial(k) for k in range(8)])


@helper
def _exp(x: float) -> float:
    """Return exp(x) for |x| <= 100, by the same arithmetic on every machine."""
    y = x * _LOG2_E
    k = math.floor(y + 0.5)
    f = y - k
    total = _SERIES[7]
    for term in range(6, -1, -1):
        total = total * f + _SERIES[term]
    return total * _POWERS[int(k) - _POWERS_LOW]


@helper
def _exponent(tile: NDArray[Any], tau: float, full: bool, scale: float) -> float:
    """Return tau over the spread of a tile's scores about zero, once they are scaled.

    For scores >= 0 the spread is the maximum, as published; with negative ones it keeps
    exponents within tau of each other.  On a ragged tile negative scores play no part.
    """
    high = low = 0.0
    for score in tile:
        high = max(high, np.float64(score) * scale)
        low = min(low, np.float64(score) * scale)
    spread = high - low if full else high
    return tau / spread if spread > 0 else 0.0


@helper
def _start_lane(
    tile: NDArray[Any],
    n: int,
    tau: float,
    full: bool,
    plan: NDArray[Any],
    row_kept: NDArray[Any],
    lane: int,
    shape: tuple,
) -> None:
    """Write exp(tau * scaled score) to one lane, its rows projected for the first time.

    Without that projection a ragged tile would only crawl down from exp(tau) through its caps.
    On a full tile it is enough to divide a row by its largest entry: the next projection, which
    comes before anything else, does not see by what a row was scaled.
    """
    rows, columns, padded = shape
    scale = tile_scale(tile)  # or the largest and the smallest floats would overflow
    exponent = _exponent(tile, tau, full, scale)
    for row in range(rows):
        largest = -np.inf
        for column in range(columns):
            largest = max(largest, np.float64(tile[row * columns + column]) * scale)
        shift = largest if full else 0.0
        place = row * padded * LANES + lane
        total = 0.0
        for column in range(columns):
            score = np.float64(tile[row * columns + column]) * scale
            weight = _exp(exponent * (score - shift)) if full or score >= 0 else 0.0
            plan[place + column * LANES] = weight
            total += weight
        if not full:
            whole = np.float32(min(1.0, n / max(total, 1.0)))
            row_kept[row * LANES + lane] = whole
            for column in range(columns):
                plan[place + column * LANES] *= whole


@helper
def _factor(plan: NDArray[Any], sums: Any, total: Any, kept: Any, full: bool) -> tuple[Any, Any]:
    """Return what scales lines to their target, and what they are scaled by in all.

    ``Any`` here stands for a vector, a lane a tile.
    """
    target = total / maximum(sums, splat(plan, _TINY))
    if full:
        return target, kept
    # At most n: the line's multiplier is undone, and set anew if the line is over-full then.
    whole = minimum(kept * target, splat(plan, np.float32(1.0)))
    return whole / kept, whole


@helper
def _row_sum(
    plan: NDArray[Any], row_factor: Any, column_factors: NDArray[Any], start: int, padded: int
) -> Any:
    """Apply the last factors to a row of the plan; return the sum of its capped entries."""
    one = splat(plan, np.float32(1.0))
    zero = one - one
    a, b, c, d = zero, zero, zero, zero
    for column in range(0, padded, _UNROLL):
        place = column * LANES
        p = load(plan, start + place) * row_factor * load(column_factors, place)
        q = load(plan, start + place + LANES) * row_factor * load(column_factors, place + LANES)
        x = start + place + 2 * LANES
        r = load(plan, x) * row_factor * load(column_factors, place + 2 * LANES)
        s = load(plan, x + LANES) * row_factor * load(column_factors, place + 3 * LANES)
        store(plan, start + place, p)
        store(plan, start + place + LANES, q)
        store(plan, x, r)
        store(plan, x + LANES, s)
        a = a + minimum(p, one)
        b = b + minimum(q, one)
        c = c + minimum(r, one)
        d = d + minimum(s, one)
    return (a + b) + (c + d)


@helper
def _add_row(
    plan: NDArray[Any], row_factor: Any, sums: NDArray[Any], start: int, padded: int
) -> None:
    """Add the capped entries of a row, times its new factor, to the columns' sums."""
    one = splat(plan, np.float32(1.0))
    for place in range(0, padded * LANES, LANES):
        scaled = row_factor * minimum(load(plan, start + place), one)
        store(sums, place, load(sums, place) + scaled)


@helper
def _dykstra(
    plan: NDArray[Any], row_kept: NDArray[Any], shape: tuple, n: int, full: bool, iterations: int
) -> None:
    """Scale rows, scale columns, cap at one; ``iterations`` times.

    With P = S * Q the capacity step S <- min(S * Q, 1), Q <- Q * S_old / S is S = min(P, 1),
    Q = max(P, 1), and scaling S scales P alike: the plan P is the only state, and no division
    by an entry is left.  Factors of the lines lie between 1/(rows * columns) and n / 1e-30, so
    nothing becomes NaN whatever overflows or vanishes.
    """
    rows, columns, padded = shape
    total = splat(plan, np.float32(n))
    row_factors = np.ones(rows * LANES, np.float32)
    column_factors = np.ones(padded * LANES, np.float32)
    column_kept = np.ones(padded * LANES, np.float32)
    sums = np.empty(padded * LANES, np.float32)
    for _ in range(iterations):
        sums[:] = 0.0
        for row in range(rows):
            start = row * padded * LANES
            last = load(row_factors, row * LANES)
            row_sum = _row_sum(plan, last, column_factors, start, padded)
            factor, kept = _factor(plan, row_sum, total, load(row_kept, row * LANES), full)
            store(row_factors, row * LANES, factor)
            store(row_kept, row * LANES, kept)
            _add_row(plan, factor, sums, start, padded)
        for place in range(0, columns * LANES, LANES):
            factor, kept = _factor(plan, load(sums, place), total, load(column_kept, place), full)
            store(column_factors, place, factor)
            store(column_kept, place, kept)
    for row in range(rows):
        start = row * padded * LANES
        _row_sum(plan, load(row_factors, row * LANES), column_factors, start, padded)


@helper
def _order_plan(bits: NDArray[Any], shape: tuple, keys: NDArray[Any]) -> None:
    """Sort every lane's entries by descending S; capped ones, all 1, by descending S * Q."""
    rows, columns, padded = shape
    place = 0
    for row in range(rows):
        for column in range(columns):
            entry = row << LINE_BITS | column
            start = (row * padded + column) * LANES
            for lane in range(LANES):
                keys[place + lane] = score_key(bits[start + lane]) << SCORE_SHIFT | entry
            place += LANES
    keys[place:] = LAST_KEY
    sort_lanes(keys, keys.size // LANES, LANES)


@compile_kernel
def solve_batch(
    scores: NDArray[Any],
    n: int,
    full: bool,
    tau: float,
    iterations: int,
    sweeps: int,
    kept: NDArray[Any],
) -> None:
    """Solve tiles group by group."""
    tiles, rows, columns = kept.shape
    padded = (columns + _UNROLL - 1) // _UNROLL * _UNROLL
    shape = (rows, columns, padded)
    plan = np.zeros(rows * padded * LANES, np.float32)
    row_kept = np.ones(rows * LANES, np.float32)
    keys = np.empty(network_size(rows * columns) * LANES, np.int64)
    scanned = np.full(LANES, rows * columns, np.int64)
    state = make_tile(rows, columns)
    for first in range(0, tiles, LANES):
        for lane in range(LANES):
            # Lanes beyond the last tile repeat it.
            tile = scores[min(first + lane, tiles - 1)]
            _start_lane(tile, n, tau, full, plan, row_kept, lane, shape)
        _dykstra(plan, row_kept, shape, n, full, iterations)
        _order_plan(plan.view(np.int32), shape, keys)
        keep_group(keys, LANES, scanned, n, first, kept)
        for tile in range(first, min(first + LANES, tiles)):
            repair(state, scores[tile], kept[tile], n, full, sweeps)


def solve_tiles(scores: NDArray[Any], n: int, full: bool, method: Any, /) -> NDArray[np.bool_]:
    """Masks rounded from the entropic relaxation, filled by local search.

    Maximises sum(s * S) + entropy(S) / tau over matrices S with entries in [0, 1] whose rows and
    columns sum to n (on partial tiles: to at most n), with s scaled to a spread of one, by
    Dykstra's alternating Bregman projections; then keeps entries in descending S while row and
    column have room, and repairs the mask. Every row and column of a full tile holds exactly n.

    Takes and returns what :class:`nmflow.solvers.interface.TileSolver` says.

    References
    ----------
    X. Meng, M. Makni, R. Mazumder, "TSENOR: Highly-Efficient Algorithm for Finding Transposable
    N:M Sparse Masks", NeurIPS 2025, arXiv 2505.23949.
    """
    kept = np.empty(scores.shape, np.bool_)
    flat = scores.reshape(len(scores), -1)
    sweeps = UNTIL_OPTIMUM if method.sweeps is None else method.sweeps
    solve_batch(flat, n, full, float(method.tau), method.iterations, sweeps, kept)
    return kept
