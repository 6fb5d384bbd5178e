"""One tile by itself, a line a vector: shortest paths and potentials where dual ascent has stalled.

Coordinate ascent may stall where many scores are equal: no single potential can improve, yet some
rows hold more than n and some fewer. Successive shortest paths go on from there (Ahuja, Magnanti &
Orlin, Network Flows, 1993, sec. 9.7), as in :mod:`nmflow.solvers.flow.scalar.augmentation`. Kept
entries have reduced cost s - u - v >= 0 and pruned ones <= 0 throughout, so all arcs of the
residual network have length >= 0: a row adds a pruned entry, a column drops a kept one.
:func:`augmentation.augment`, in turn,

- finds the distances from all rows with a deficit, by Bellman-Ford, columns and rows in turn;
- moves the potentials along, which makes the shortest paths as short as 0;
- augments along them (:mod:`augmentation`).

Then :func:`separate` moves the potentials strictly between what is kept and what is pruned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper, inlined
from nmflow.compiling.structs import Struct
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
from nmflow.solvers.flow.simd_engine.fixed_point import (
    CENTRAL_LIMIT,
    FORBIDDEN,
    HIGHEST,
    LOWEST,
    POTENTIAL_LIMIT,
    REDUCED_LIMIT,
)
from nmflow.solvers.flow.simd_engine.strips import aligned

SWEEPS = 32
"""Sweeps in which distances must be found."""
PHASES = 128
"""How often potentials and units move in turn."""
ROUNDS = 8
"""Rounds in which potentials must come between what is kept and what is pruned."""


class TileScratch(Struct, pointers=True):
    """Scratch memory for a tile. Lines are padded to 8, 16 or 32 entries; all are of int32.

    Attributes
    ----------
    strip, inexact : reduced costs of the tile's strip, row by row; -1 where scores exceed floors
    scores, scores_by_column : the tile row by row, and column by column
    pruned : row by row, the scores that are pruned, -FORBIDDEN where they are kept
    kept : column by column, the scores that are kept, FORBIDDEN where they are pruned
    u, v : potentials
    row, column : u plus the distance of each row, v less the distance of each column
    row_sweep, column_sweep : the sweep that found these, SWEEPS if none did
    row_deficit, column_deficit : n less the entries held; a row's may be negative
    adds, drops : the columns that each row may add at reduced cost 0, or drop, a bit each
    path : columns and rows in turn
    n : what rows and columns are to hold
    """

    strip: NDArray[np.int32]
    inexact: NDArray[np.int32]
    scores: NDArray[np.int32]
    scores_by_column: NDArray[np.int32]
    pruned: NDArray[np.int32]
    kept: NDArray[np.int32]
    u: NDArray[np.int32]
    v: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    row_sweep: NDArray[np.int32]
    column_sweep: NDArray[np.int32]
    row_deficit: NDArray[np.int32]
    column_deficit: NDArray[np.int32]
    adds: NDArray[np.int32]
    drops: NDArray[np.int32]
    path: NDArray[np.int64]
    n: int


def new_tile_scratch(shape: TileShape) -> TileScratch:
    """Scratch memory, with padding that no path leads through."""
    m, line = shape.m, shape.line
    # The last line of a strip is read to the end of a vector.
    sizes = (m * shape.halves * ROW + ROW,) * 2 + (m * line,) * 4 + (line,) * 10
    tile = TileScratch(
        *(aligned(size, np.int32) for size in sizes),
        path=np.zeros(2 * m + 2, np.int64),
        n=shape.n,
    )
    for scores in (tile.scores, tile.scores_by_column):
        scores[:] = -REDUCED_LIMIT
    tile.pruned[:] = -FORBIDDEN
    tile.kept[:] = FORBIDDEN
    return tile


@helper
def transpose_tile(tile, shape):
    """Copy the tile's rows to its columns."""
    side = min(shape.line, ROW)
    if shape.m % side == 0:
        for row in range(0, shape.m, side):
            for column in range(0, shape.m, side):
                transpose_square(tile.scores, tile.scores_by_column, row, column, shape)
    else:
        for i in range(shape.m):
            for j in range(shape.m):
                tile.scores_by_column[j * shape.line + i] = tile.scores[i * shape.line + j]


@inlined
def kept_of_row(tile, row, shape):
    """-1 where the row's entries are kept."""
    line = load_line(tile.pruned, row * shape.line, shape)
    return equal(line, like(line, -FORBIDDEN))


@inlined
def kept_of_column(tile, column, shape):
    """-1 where the column's entries are kept."""
    line = load_line(tile.kept, column * shape.line, shape)
    return differs(line, like(line, FORBIDDEN))


@inlined
def best_of(extreme, lines, potentials, changed, old, shape):
    """For each column the extreme of score - potential over rows; for rows, over columns.

    Only lines among the bits ``changed`` can improve on ``old``. In small tiles it costs less to
    look at all of them.
    """
    best = old
    if shape.m > ROW:
        while changed != 0:
            k = first_one(changed)
            changed &= changed - 1
            score = load_line(lines, k * shape.line, shape)
            best = extreme(best, score - like(score, potentials[k]))
    else:
        for k in range(shape.m):
            score = load_line(lines, k * shape.line, shape)
            best = extreme(best, score - like(score, potentials[k]))
    return best


@inlined
def farthest(columns, rows, to_columns, to_rows):
    """The largest distance to one of some columns or rows; -1 if there are none."""
    none = like(to_rows, -1)
    return largest_lane(maximum(choose(columns, to_columns, none), choose(rows, to_rows, none)))


@helper
def find_distances(tile, shape):
    """Bellman-Ford from all rows with a deficit; whether it came to an end in SWEEPS sweeps.

    Distances beyond the farthest end of a path need not be right.
    """
    u, v = load_line(tile.u, 0, shape), load_line(tile.v, 0, shape)
    row_deficit, zero, never = load_line(tile.row_deficit, 0, shape), v ^ v, like(v, SWEEPS)
    source, surplus = greater(row_deficit, zero), greater(zero, row_deficit)
    column_deficit = greater(load_line(tile.column_deficit, 0, shape), zero)
    row = u + choose(source, zero, like(v, POTENTIAL_LIMIT))
    row_sweep, column_sweep = choose(source, zero, never), never
    column = v - like(v, POTENTIAL_LIMIT)
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
            end = farthest(column_deficit, surplus, v - column, row - u)
            changed = changed & greater(like(v, end), row - u)
        rows = negative_lanes(changed)
        if rows == 0:
            break
    store(tile.row_sweep, 0, row_sweep)
    store(tile.column_sweep, 0, column_sweep)
    return rows == 0


@helper
def follow_distances(tile, shape):
    """Move the potentials by the distances, up to the farthest end of a path; whether there is one.

    Reduced costs keep their signs, and become 0 along shortest paths.
    """
    u, v = load_line(tile.u, 0, shape), load_line(tile.v, 0, shape)
    row, column = load_line(tile.row, 0, shape), load_line(tile.column, 0, shape)
    row_deficit, zero, far = load_line(tile.row_deficit, 0, shape), v ^ v, like(v, POTENTIAL_LIMIT)
    column_deficit = greater(load_line(tile.column_deficit, 0, shape), zero) & greater(
        far, v - column
    )
    surplus = greater(zero, row_deficit) & greater(far, row - u)
    end = farthest(column_deficit, surplus, v - column, row - u)
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
    """Their middle, rounded down; below CENTRAL_LIMIT where there is a choice."""
    one, near, far = like(below, 1), like(below, CENTRAL_LIMIT), like(below, -CENTRAL_LIMIT)
    below, above = (
        maximum(below, minimum(far, above - one)),
        minimum(above, maximum(near, below + one)),
    )
    return (below >> one) + (above >> one) + (below & above & one)


@inlined
def bounds(tile, lines, potentials, kept_of, shape):
    """For each row the largest pruned and the smallest kept score less the columns' potentials.

    Or for each column, given the rows'.
    """
    below = like(load_line(lines, 0, shape), LOWEST)
    above = like(below, HIGHEST)
    for k in range(shape.m):
        reduced = load_line(lines, k * shape.line, shape) - like(below, potentials[k])
        kept = kept_of(tile, k, shape)
        below = choose(kept, below, maximum(below, reduced))
        above = choose(kept, minimum(above, reduced), above)
    return below, above


@helper
def separate(tile, shape):
    """Move the potentials strictly between kept and pruned scores; whether they came there.

    After success kept entries have reduced cost >= 1 and pruned ones <= 0: the mask is unique. Else
    the potentials are as before.
    """
    old_u, old_v = load_line(tile.u, 0, shape), load_line(tile.v, 0, shape)
    for _ in range(ROUNDS):
        below, above = bounds(tile, tile.scores_by_column, tile.v, kept_of_column, shape)
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
    """Whether reduced costs that were clipped to +-REDUCED_LIMIT kept their signs."""
    within = True
    for k in range(shape.m):
        within = within and abs(tile.u[k]) < POTENTIAL_LIMIT and abs(tile.v[k]) < POTENTIAL_LIMIT
    return within
