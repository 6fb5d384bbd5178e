"""Augmenting one tile along paths of reduced cost 0, from rows with a deficit to its ends.

Ends are columns with a deficit and rows that hold too many. A path that
:func:`shortest_paths.find_distances` found is traced back from its end: to a row that may add the
column's entry, then to a column whose entry that row may drop, and so on. Each step back leads to
an earlier sweep, so that it ends even where all reduced costs are 0.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper, inlined
from nmflow.simd.integers import any_bits, differs, equal, greater, like
from nmflow.simd.lines import first_one, load_line, negative_lanes
from nmflow.solvers.flow.simd_engine.fixed_point import (
    FORBIDDEN,
)
from nmflow.solvers.flow.simd_engine.single_tile.shortest_paths import (
    PHASES,
    SWEEPS,
    find_distances,
    follow_distances,
    kept_of_column,
    kept_of_row,
)

NOWHERE = 64


@inlined
def dropped_from(tile, row, shape):
    """A column whose entry the row may drop, reached no later than the row; or NOWHERE."""
    scores = load_line(tile.scores, row * shape.line, shape)
    reduced = scores - like(scores, tile.u[row]) - load_line(tile.v, 0, shape)
    fits = equal(reduced, reduced ^ reduced) & kept_of_row(tile, row, shape)
    later = like(reduced, tile.row_sweep[row] + 1)
    return first_one(negative_lanes(fits & greater(later, load_line(tile.column_sweep, 0, shape))))


@inlined
def added_to(tile, column, shape):
    """A row that may add the column's entry, reached in an earlier sweep; or NOWHERE.

    One with a deficit if there is any.
    """
    scores = load_line(tile.scores_by_column, column * shape.line, shape)
    reduced = scores - like(scores, tile.v[column]) - load_line(tile.u, 0, shape)
    zero = reduced ^ reduced
    pruned = kept_of_column(tile, column, shape) ^ like(zero, -1)
    sweep = load_line(tile.row_sweep, 0, shape)
    fits = equal(reduced, zero) & pruned & greater(like(zero, tile.column_sweep[column]), sweep)
    here = fits & equal(sweep, zero) & greater(load_line(tile.row_deficit, 0, shape), zero)
    row = first_one(negative_lanes(here))
    if row == NOWHERE:
        row = first_one(negative_lanes(fits & greater(sweep, zero)))
    return row


@helper
def trace(tile, column, row, shape):
    """Trace the path that ends at a column, or else at a row; its length, 0 if it is cut."""
    length = 0
    while True:
        if column == NOWHERE:
            column = dropped_from(tile, row, shape)
            if column == NOWHERE:
                return 0
        row = added_to(tile, column, shape)
        if row == NOWHERE:
            return 0
        tile.path[length] = column
        tile.path[length + 1] = row
        length += 2
        if tile.row_sweep[row] == 0:
            return length
        column = NOWHERE


@inlined
def set_kept(tile, row, column, kept, shape):
    """Keep or prune an entry."""
    index, across = row * shape.line + column, column * shape.line + row
    score = tile.scores[index]
    tile.pruned[index] = -FORBIDDEN if kept else score
    tile.kept[across] = score if kept else FORBIDDEN


@helper
def move_unit(tile, end, length, shape):
    """Augment along the traced path, one unit; ``end`` is its last row, or NOWHERE."""
    row = end
    for k in range(0, length, 2):
        column = tile.path[k]
        if row != NOWHERE:
            set_kept(tile, row, column, False, shape)
        row = tile.path[k + 1]
        set_kept(tile, row, column, True, shape)
    tile.row_deficit[row] -= 1


@helper
def move_units(tile, shape):
    """Augment along paths of the last search until each is cut by another."""
    column_deficit, row_deficit = (
        load_line(tile.column_deficit, 0, shape),
        load_line(tile.row_deficit, 0, shape),
    )
    none, never = row_deficit ^ row_deficit, like(row_deficit, SWEEPS)
    reached = greater(never, load_line(tile.column_sweep, 0, shape))
    columns = negative_lanes(greater(column_deficit, none) & reached)
    reached = greater(never, load_line(tile.row_sweep, 0, shape))
    rows = negative_lanes(greater(none, row_deficit) & reached)
    while columns != 0:
        column = first_one(columns)
        columns &= columns - 1
        while tile.column_deficit[column] > 0:
            length = trace(tile, column, NOWHERE, shape)
            if length == 0:
                break
            move_unit(tile, NOWHERE, length, shape)
            tile.column_deficit[column] -= 1
    while rows != 0:
        row = first_one(rows)
        rows &= rows - 1
        while tile.row_deficit[row] < 0:
            length = trace(tile, NOWHERE, row, shape)
            if length == 0:
                break
            move_unit(tile, row, length, shape)
            tile.row_deficit[row] += 1


@helper
def augment(tile, shape):
    """Augment, and move potentials, until all rows and columns hold n; whether they do.

    The reduced costs of kept entries are >= 0 and those of pruned ones <= 0 before and after.
    """
    for _ in range(PHASES):
        row_deficit = load_line(tile.row_deficit, 0, shape)
        if any_bits(greater(row_deficit, row_deficit ^ row_deficit)) == 0:
            return True
        if not find_distances(tile, shape) or not follow_distances(tile, shape):
            return False
        move_units(tile, shape)
    return False


@helper
def is_unique(tile, shape):
    """Whether no other mask is optimal, given exact scores and optimal potentials.

    Another would differ along alternating cycles of entries of reduced cost 0. Rows and columns
    that no such cycle passes are taken away until none is left, or a cycle is.
    """
    v = load_line(tile.v, 0, shape)
    for i in range(shape.m):
        reduced = load_line(tile.scores, i * shape.line, shape) - v
        reduced = reduced - like(reduced, tile.u[i])
        zero = equal(reduced, reduced ^ reduced)
        kept = negative_lanes(zero & kept_of_row(tile, i, shape))
        tile.drops[i] = kept
        tile.adds[i] = negative_lanes(zero) & ~kept
    adds, drops = load_line(tile.adds, 0, shape), load_line(tile.drops, 0, shape)
    none = v ^ v
    while True:
        columns = any_bits(adds) & any_bits(drops)
        if columns == 0:
            return True
        fewer_adds, fewer_drops = adds & like(adds, columns), drops & like(drops, columns)
        crossed = differs(fewer_adds, none) & differs(fewer_drops, none)
        fewer_adds, fewer_drops = fewer_adds & crossed, fewer_drops & crossed
        if any_bits((fewer_adds ^ adds) | (fewer_drops ^ drops)) == 0:
            return False
        adds, drops = fewer_adds, fewer_drops
