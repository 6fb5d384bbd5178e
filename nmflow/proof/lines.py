"""Rows of a window and what lies across them: prices of tiles spread out, entries counted by tiles.

Loops over all columns of a window are what LLVM makes vector instructions of, and tiles are too
narrow for that. So what belongs to a tile becomes an entry for each of its columns, and back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper
from nmflow.compiling.structs import Struct
from nmflow.problem.prices import Prices


class Lines(Struct):
    """Memory for a row of a window, and for what is counted in a row of tiles.

    Attributes
    ----------
    price : ndarray of float32 or float64, shape (C,)
        Of the row that each entry is in.
    price_of_four : ndarray of the same dtype, shape (C // 4,)
        The same of four entries each.
    wrong : ndarray of uint8, shape (C,)
        Whether an entry of that column is on the wrong side of its price.
    held : ndarray of uint32, shape (C,)
        How many entries of that column are kept.
    counts, fours, by_tile : ndarray of uint32, shapes (C,), (C // 4,), (J,)
        What is to be added up over the columns of each tile; its sums by four, and by tiles.
    """

    price: NDArray[Any]
    price_of_four: NDArray[Any]
    wrong: NDArray[np.uint8]
    held: NDArray[np.uint32]
    counts: NDArray[np.uint32]
    fours: NDArray[np.uint32]
    by_tile: NDArray[np.uint32]

    @classmethod
    def of(cls, columns: int, tile: tuple[int, int], dtype: Any) -> Lines:
        """For windows of so many columns."""
        return cls(
            np.empty(columns, dtype),
            np.empty(columns // 4, dtype),
            np.empty(columns, np.uint8),
            np.empty(columns, np.uint32),
            np.empty(columns, np.uint32),
            np.empty(columns // 4, np.uint32),
            np.empty(columns // tile[1], np.uint32),
        )


def no_prices(scores: NDArray[Any], tile: tuple[int, int], dtype: Any = np.float64) -> Prices:
    """Prices of a window, to be written; what is not written proves nothing that is not so."""
    (b, rows, columns), (height, width) = scores.shape, tile
    shapes = (b, rows, columns // width), (b, rows // height, columns)
    return Prices(*(np.empty(shape, dtype) for shape in shapes))


@helper
def begin(lines, verdict, priced):
    """Begin a row of tiles, all of them due and, if there are prices, proved so far."""
    due, proved = verdict
    for x in range(lines.held.size):
        lines.held[x] = 0
        lines.wrong[x] = 0
    for t in range(due.size):
        due[t] = True
        proved[t] = priced


@helper
def count_row(kept, shift, counts, held):
    """Count the entries of a row."""
    for x in range(kept.size):
        one = np.uint32(kept[x] != 0)
        counts[x] += np.uint32(one << np.uint32(shift))
        held[x] += one


@helper
def spread(prices, width, lines):
    """Give each entry of a row the price of its tile there."""
    if width % 4:
        repeat(prices, width, lines.price)
    elif width == 4:
        repeat_four_times(prices, lines.price)
    else:
        repeat(prices, width // 4, lines.price_of_four)
        repeat_four_times(lines.price_of_four, lines.price)


@helper
def repeat(prices, times, entries):
    """Write each price so many times."""
    for t in range(prices.size):
        for k in range(t * times, (t + 1) * times):
            entries[k] = prices[t]


@helper
def repeat_four_times(prices, entries):
    """As :func:`repeat`, of which LLVM makes vectors where it knows the number."""
    for k in range(prices.size):
        price = prices[k]
        entries[4 * k] = price
        entries[4 * k + 1] = price
        entries[4 * k + 2] = price
        entries[4 * k + 3] = price


@helper
def add_up(lines, width):
    """Add counts up over the columns of each tile."""
    if width % 4:
        add_runs(lines.counts, width, lines.by_tile)
    elif width == 4:
        add_fours(lines.counts, lines.by_tile)
    else:
        add_fours(lines.counts, lines.fours)
        add_runs(lines.fours, width // 4, lines.by_tile)


@helper
def add_runs(counts, length, sums):
    """Add up runs of so many numbers."""
    for t in range(sums.size):
        total = np.uint32(0)
        for k in range(t * length, (t + 1) * length):
            total = np.uint32(total + counts[k])
        sums[t] = total


@helper
def add_fours(counts, sums):
    """As :func:`add_runs`, of four."""
    for k in range(sums.size):
        four = counts[4 * k] + counts[4 * k + 1] + counts[4 * k + 2] + counts[4 * k + 3]
        sums[k] = np.uint32(four)
