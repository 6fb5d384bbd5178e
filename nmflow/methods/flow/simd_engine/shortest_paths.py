"""One tile by itself, a row or a column a vector: what ascent in lanes leaves open.

Coordinate ascent may stall where many scores are equal: no single potential can improve, yet some
rows hold more than n and some fewer. From there on it is a matter of moving units along shortest
paths (Ahuja, Magnanti & Orlin, Network Flows, 1993, sec. 9.7), as in
:mod:`nmflow.methods.flow.scalar.augmentation`. What is kept has slack w - u - v >= 0 and what is
pruned <= 0 throughout, so a row in need may add pruned entries and a column drop kept ones at no
negative cost. :func:`balance`, in turn,

- finds all distances from rows in need, by Bellman and Ford, a sweep over the columns, then the
  rows, at a time;
- lets the potentials follow, which makes shortest paths paths of slack 0;
- moves units along them (:mod:`nmflow.methods.flow.simd_engine.augmentation`).

Then :func:`separate` moves the potentials between what is kept and what is pruned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper, inlined
from nmflow.methods.flow.simd_engine.strips import aligned
from nmflow.simd.integers import (
    any_bits,
    choose,
    differs,
    equal,
    greater,
    largest_lane,
    like,
)
from nmflow.simd.lines import first_one, load_line, negative_lanes, transpose_square
from nmflow.simd.tile_shape import ROW, TileShape
from nmflow.simd.vectors import maximum, minimum, store

FAR = 1 << 28
"""No potential may exceed it, nor any distance."""
EDGE = 1 << 29
"""What larger slacks count as; they stay on their side of all potentials."""
HIGHEST, LOWEST = (1 << 31) - 1, -(1 << 31)
NEVER = 1 << 30
"""Scores that no potential or distance can make count, or their opposites."""
NEAR = 1 << 21
"""What potentials keep to where they can."""
SWEEPS = 32
"""Sweeps in which distances must be found."""
PHASES = 128
"""How often potentials and units move in turn."""
ROUNDS = 8
"""Rounds in which potentials must come between what is kept and what is pruned."""


class Tile(NamedTuple):
    """Working memory for a tile; lines of m > 8 are padded to 16 or 32, others to 8.

    Attributes
    ----------
    piece, inexact : slacks of the piece in which the tile lies, row by row; which are but floors
    scores, across : the tile row by row, and column by column
    pruned : row by row, the scores that are pruned, -NEVER where they are kept
    kept : column by column, the scores that are kept, NEVER where they are pruned
    u, v : potentials
    row, column : those that distances lead to
    row_sweep, column_sweep : the sweep that found them
    need, missing : units that rows and columns lack
    adds, drops : the columns that each row may add at no cost, or drop, a bit each
    path : columns and rows in turn
    """

    piece: NDArray[np.int32]
    inexact: NDArray[np.int32]
    scores: NDArray[np.int32]
    across: NDArray[np.int32]
    pruned: NDArray[np.int32]
    kept: NDArray[np.int32]
    u: NDArray[np.int32]
    v: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    row_sweep: NDArray[np.int32]
    column_sweep: NDArray[np.int32]
    need: NDArray[np.int32]
    missing: NDArray[np.int32]
    adds: NDArray[np.int32]
    drops: NDArray[np.int32]
    path: NDArray[np.int64]


def new_tile(shape: TileShape) -> Tile:
    """Working memory, with nothing to win in the padding."""
    m, line = shape.m, shape.line
    # The last line of a piece is read to the end of a vector.
    sizes = (m * shape.halves * ROW + ROW,) * 2 + (m * line,) * 4 + (line,) * 10
    tile = Tile(
        *(aligned(size, np.int32) for size in sizes),
        path=np.zeros(2 * m + 2, np.int64),
    )
    for scores in (tile.scores, tile.across):
        scores[:] = -EDGE
    tile.pruned[:] = -NEVER
    tile.kept[:] = NEVER
    return tile


@helper
def turn(tile, shape):
    """Copy the rows of the tile's scores to its columns."""
    side = min(shape.line, ROW)
    if shape.m % side == 0:
        for row in range(0, shape.m, side):
            for column in range(0, shape.m, side):
                transpose_square(tile.scores, tile.across, row, column, shape)
    else:
        for i in range(shape.m):
            for j in range(shape.m):
                tile.across[j * shape.line + i] = tile.scores[i * shape.line + j]


@inlined
def kept_of_row(tile, row, shape):
    """-1 where the row's entries are kept."""
    line = load_line(tile.pruned, row * shape.line, shape)
    return equal(line, like(line, -NEVER))


@inlined
def kept_of_column(tile, column, shape):
    """-1 where the column's entries are kept."""
    line = load_line(tile.kept, column * shape.line, shape)
    return differs(line, like(line, NEVER))


@inlined
def best_of(extreme, lines, prices, changed, old, shape):
    """Of each column, given the rows with their potentials, or the other way: score - price.

    Rows that are not among the bits ``changed`` make no difference. In small tiles it costs less
    to look at all of them.
    """
    best = old
    if shape.m > ROW:
        while changed != 0:
            k = first_one(changed)
            changed &= changed - 1
            score = load_line(lines, k * shape.line, shape)
            best = extreme(best, score - like(score, prices[k]))
    else:
        for k in range(shape.m):
            score = load_line(lines, k * shape.line, shape)
            best = extreme(best, score - like(score, prices[k]))
    return best


@inlined
def farthest(columns, rows, to_columns, to_rows):
    """The largest distance to one of some columns or rows; -1 if there are none."""
    none = like(to_rows, -1)
    return largest_lane(maximum(choose(columns, to_columns, none), choose(rows, to_rows, none)))


@helper
def find_distances(tile, shape):
    """Distances from rows in need, as potentials that follow them; whether they are complete.

    They need not be true beyond the farthest end of a path.
    """
    u, v = load_line(tile.u, 0, shape), load_line(tile.v, 0, shape)
    need, zero, never = load_line(tile.need, 0, shape), v ^ v, like(v, SWEEPS)
    source, surplus = greater(need, zero), greater(zero, need)
    missing = greater(load_line(tile.missing, 0, shape), zero)
    row = u + choose(source, zero, like(v, FAR))
    row_sweep, column_sweep = choose(source, zero, never), never
    column = v - like(v, FAR)
    store(tile.row, 0, row)
    rows = negative_lanes(source)
    for sweep in range(1, SWEEPS):
        new = best_of(maximum, tile.pruned, tile.row, rows, column, shape)
        changed = differs(new, column)
        column_sweep = choose(changed, like(v, sweep), column_sweep)
        column = new
        store(tile.column, 0, column)
        columns = negative_lanes(changed)
        new = best_of(minimum, tile.kept, tile.column, columns, row, shape)
        changed = differs(new, row)
        row_sweep = choose(changed, like(v, sweep), row_sweep)
        row = new
        store(tile.row, 0, row)
        # The first sweep reaches few ends.
        if sweep > 1:
            end = farthest(missing, surplus, v - column, row - u)
            changed = changed & greater(like(v, end), row - u)
        rows = negative_lanes(changed)
        if rows == 0:
            break
    store(tile.row_sweep, 0, row_sweep)
    store(tile.column_sweep, 0, column_sweep)
    return rows == 0


@helper
def follow_distances(tile, shape):
    """Move the potentials as far as the farthest end of a path; whether there is any."""
    u, v = load_line(tile.u, 0, shape), load_line(tile.v, 0, shape)
    row, column = load_line(tile.row, 0, shape), load_line(tile.column, 0, shape)
    need, zero, far = load_line(tile.need, 0, shape), v ^ v, like(v, FAR)
    missing = greater(load_line(tile.missing, 0, shape), zero) & greater(far, v - column)
    surplus = greater(zero, need) & greater(far, row - u)
    end = farthest(missing, surplus, v - column, row - u)
    if end < 0:
        return False
    u, v = minimum(row, u + like(u, end)), maximum(column, v - like(v, end))
    store(tile.u, 0, u)
    store(tile.v, 0, v)
    # No path leads through what is farther.
    never = like(v, SWEEPS)
    store(tile.row_sweep, 0, choose(differs(row, u), never, load_line(tile.row_sweep, 0, shape)))
    sweep = load_line(tile.column_sweep, 0, shape)
    store(tile.column_sweep, 0, choose(differs(column, v), never, sweep))
    return True


@inlined
def between(below, above):
    """Their middle, rounded down; not far from zero where there is a choice."""
    one, near, far = like(below, 1), like(below, NEAR), like(below, -NEAR)
    below, above = (
        maximum(below, minimum(far, above - one)),
        minimum(above, maximum(near, below + one)),
    )
    return (below >> one) + (above >> one) + (below & above & one)


@inlined
def bounds(tile, lines, prices, kept_of, shape):
    """Of each row, given the columns with their potentials: the largest pruned slack, least kept.

    Or of each column, given the rows.
    """
    below = like(load_line(lines, 0, shape), LOWEST)
    above = like(below, HIGHEST)
    for k in range(shape.m):
        slack = load_line(lines, k * shape.line, shape) - like(below, prices[k])
        kept = kept_of(tile, k, shape)
        below = choose(kept, below, maximum(below, slack))
        above = choose(kept, minimum(above, slack), above)
    return below, above


@helper
def separate(tile, shape):
    """Potentials between what is kept and what is pruned, v last; if there are none, the old."""
    old_u, old_v = load_line(tile.u, 0, shape), load_line(tile.v, 0, shape)
    for _ in range(ROUNDS):
        below, above = bounds(tile, tile.across, tile.v, kept_of_column, shape)
        store(tile.u, 0, between(below, above))
        below, above = bounds(tile, tile.scores, tile.u, kept_of_row, shape)
        store(tile.v, 0, between(below, above))
        if any_bits(greater(above, below) ^ like(below, -1)) == 0:
            if within_limits(tile, shape):
                return True
            break
    store(tile.u, 0, old_u)
    store(tile.v, 0, old_v)
    return False


@inlined
def within_limits(tile, shape):
    """Whether the slacks that count as EDGE or -EDGE are kept and pruned whatever they are."""
    within = True
    for k in range(shape.m):
        within = within and abs(tile.u[k]) < FAR and abs(tile.v[k]) < FAR
    return within
