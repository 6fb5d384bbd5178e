"""Moves that repair and improve the mask of one tile: insertions, insert-swaps, exchanges.

A tile is held as two matrices, so that a move that may not be made has an infinite price and
no search needs a condition: ``gain[i, j]`` is the score of a pruned entry and -inf elsewhere,
``cost[i, j]`` the score of a kept entry and +inf elsewhere.  Their rows are padded to whole
vectors.  Scores are first brought near one by a power of two, so that no sum overflows.

*Filling.*  While some under-full row i and under-full column j do not share a kept entry, keep
it.  Else choose a kept (p, q) with (i, q) and (p, j) pruned, keep these two and prune (p, q):
row i and column j hold one more, all other lines as many as before.  On a full tile such a
(p, q) always exists.  For let C be the columns pruned in row i and R the rows pruned in column
j.  Row i holds fewer than n, so all but n - 1 columns at most lie in C, and R is not empty.
A row of R is full, or (p, j) could simply be kept; so it holds n entries, and only n - 1
columns at most lie outside C: it holds one in C.  Every step keeps one entry more, so filling
ends, and it ends with every line full, for under-full rows and columns come in equal numbers.

*Improving.*  For two rows i and p, exchange kept (i, k), (p, j) for pruned (i, j), (p, k) while
s_ij - s_pj > s_ik - s_pk.  Rounding is monotone: if the rounded differences are strictly
ordered, so are the true ones.  Every exchange thus raises the true sum, no mask comes twice,
and the search ends on any floats, without a tolerance and without a cap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper
from nmflow.simd.vectors import VECTOR_BYTES, highest, load, maximum, splat
from nmflow.solvers.heuristics.ordering import tile_scale

_WIDTH = VECTOR_BYTES // 8
UNTIL_OPTIMUM = np.iinfo(np.int64).max  # sweeps

# (gain, cost, entries still wanted by each row, by each column)
Tile = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


@helper
def make_tile(rows: int, columns: int) -> Tile:
    """Allocate the state of one tile; the padding of its rows allows no move."""
    padded = (columns + _WIDTH - 1) // _WIDTH * _WIDTH
    gain = np.full((rows, padded), -np.inf)
    cost = np.full((rows, padded), np.inf)
    return gain, cost, np.empty(rows, np.int64), np.empty(columns, np.int64)


@helper
def read_tile(state: Tile, scores: NDArray[Any], kept: NDArray[Any], n: int, full: bool) -> None:
    """Set the state to a tile's flat scores and its mask.

    On a ragged tile an entry of negative score is pruned, and no move can keep it.
    """
    gain, cost, row_wants, column_wants = state
    rows, columns = kept.shape
    scale = tile_scale(scores)
    row_wants[:] = n
    column_wants[:] = n
    for row in range(rows):
        for column in range(columns):
            score = np.float64(scores[row * columns + column])
            wanted = full or score >= 0
            score *= scale
            keep = kept[row, column] and wanted
            gain[row, column] = score if wanted and not keep else -np.inf
            cost[row, column] = score if keep else np.inf
            row_wants[row] -= keep
            column_wants[column] -= keep


@helper
def write_tile(state: Tile, kept: NDArray[Any]) -> None:
    """Write the mask of the state."""
    rows, columns = kept.shape
    for row in range(rows):
        for column in range(columns):
            kept[row, column] = state[1][row, column] < np.inf


@helper
def _keep(state: Tile, row: int, column: int) -> None:
    gain, cost, row_wants, column_wants = state
    cost[row, column] = gain[row, column]
    gain[row, column] = -np.inf
    row_wants[row] -= 1
    column_wants[column] -= 1


@helper
def _prune(state: Tile, row: int, column: int) -> None:
    gain, cost, row_wants, column_wants = state
    gain[row, column] = cost[row, column]
    cost[row, column] = np.inf
    row_wants[row] += 1
    column_wants[column] += 1


@helper
def _insert(state: Tile) -> bool:
    """Keep the heaviest entry that row and column have room for; return whether there is one."""
    gain, _, row_wants, column_wants = state
    best = -np.inf
    best_row = best_column = 0
    for row in range(row_wants.size):
        if row_wants[row] > 0:
            for column in range(column_wants.size):
                if column_wants[column] > 0 and gain[row, column] > best:
                    best = gain[row, column]
                    best_row, best_column = row, column
    if best > -np.inf:
        _keep(state, best_row, best_column)
    return best > -np.inf


@helper
def _insert_swap(state: Tile, row: int, column: int, full: bool) -> bool:
    """Make the best insert-swap for an under-full row and column; return whether one was made.

    On a ragged tile only a swap that gains is made.
    """
    gain, cost, row_wants, column_wants = state
    best = -np.inf
    best_row = best_column = 0
    for other_row in range(row_wants.size):
        if gain[other_row, column] == -np.inf:
            continue
        for other_column in range(column_wants.size):
            value = gain[row, other_column] + gain[other_row, column]
            value -= cost[other_row, other_column]
            if value > best:
                best = value
                best_row, best_column = other_row, other_column
    if best > (-np.inf if full else 0.0):
        _prune(state, best_row, best_column)
        _keep(state, row, best_column)
        _keep(state, best_row, column)
        return True
    return False


@helper
def fill(state: Tile, full: bool) -> bool:
    """Insert and insert-swap until no row and column want more; return whether any did."""
    _, _, row_wants, column_wants = state
    moved = False
    again = True
    while again:
        again = False
        while _insert(state):
            moved = True
        for row in range(row_wants.size):
            for column in range(column_wants.size):
                # An insertion elsewhere may have come into reach: look for it first.
                if not again and row_wants[row] > 0 and column_wants[column] > 0:
                    again = _insert_swap(state, row, column, full)
        moved |= again
    return moved


@helper
def _best_trade(
    gain: NDArray[Any], cost: NDArray[Any], base: int, other: int, padded: int
) -> float:
    """Return the largest gain[row, j] - cost[other row, j] over the columns j."""
    best = splat(gain, -np.inf)
    for offset in range(0, padded, _WIDTH):
        best = maximum(best, load(gain, base + offset) - load(cost, other + offset))
    return highest(best)


@helper
def _trade(state: Tile, row: int, other: int, value: float) -> None:
    """Keep in ``row`` and prune in ``other`` the first column whose trade has this value."""
    gain, cost, _, _ = state
    for column in range(gain.shape[1]):
        if gain[row, column] - cost[other, column] == value:
            _prune(state, other, column)
            _keep(state, row, column)
            return


@helper
def improve(state: Tile, sweeps: int) -> bool:
    """Exchange over all pairs of rows, at most ``sweeps`` times; return whether any gained.

    A pair is looked at again only where one of its rows has changed since.
    """
    gain, cost, _, _ = state
    rows, padded = gain.shape
    flat_gain, flat_cost = gain.reshape(-1), cost.reshape(-1)
    before = np.ones(rows, np.bool_)
    now = np.zeros(rows, np.bool_)
    moved = False
    for _ in range(sweeps):
        now[:] = False
        for row in range(rows):
            for other in range(row):
                stale = before[row] | before[other] | now[row] | now[other]
                while stale:
                    x, y = row * padded, other * padded
                    there = _best_trade(flat_gain, flat_cost, x, y, padded)
                    back = _best_trade(flat_gain, flat_cost, y, x, padded)
                    stale = there > -back
                    if stale:
                        _trade(state, row, other, there)
                        _trade(state, other, row, back)
                        now[row] = now[other] = True
        if not now.any():
            break
        moved = True
        before[:] = now
    return moved


@helper
def repair(
    state: Tile, scores: NDArray[Any], kept: NDArray[Any], n: int, full: bool, sweeps: int
) -> None:
    """Fill the mask of one tile in place, then improve it.

    Parameters
    ----------
    state
        Scratch from ``make_tile``.
    scores
        The tile's scores, flat.
    kept
        In and out: its mask, at most ``n`` in every row and column.
    n
        How many entries a row or a column has room for.
    full
        Whether every line shall hold ``n``; else moves are made only where they gain.
    sweeps
        How often to go over all pairs of rows for improving exchanges, at most.
    """
    read_tile(state, scores, kept, n, full)
    fill(state, full)
    # An exchange leaves the counts alone, but on a ragged tile it can bring gains into reach.
    while improve(state, sweeps) and not full and fill(state, full):
        pass
    write_tile(state, kept)
