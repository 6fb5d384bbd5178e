"""The decision whether prices prove that masks are optimal.

A mask of a tile is optimal if and only if there are prices u of its rows and v of its columns with
complementary slackness (linear programming duality, see :func:`nmflow.certify`):

- every kept score is at least u_i + v_j, every pruned one at most that;
- on a full tile every row and column holds exactly n;
- on a partial tile it holds at most n, no price is negative, and where there is room for one more
  the price is 0.

Where prices come from does not matter: wrong ones prove nothing. So this file, which decides, knows
neither how masks nor how prices are found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.problem.prices import Prices

# Sums of two prices must not overflow.
LARGEST_PRICE = {np.dtype(np.float32): 2.0**120, np.dtype(np.float64): 2.0**1000}


class Held(NamedTuple):
    """How many entries a mask keeps in the rows and columns of all tiles of a window.

    Attributes
    ----------
    rows : ndarray of int32, shape (B, R, J)
        In each row of the window, in each of the J tiles that it crosses.
    columns : ndarray of int32, shape (B, I, C)
        In each column of the window, in each of the I tiles that it crosses.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        (_, i, columns), (_, rows, j) = self.columns.shape, self.rows.shape
        return rows // i, columns // j


def check(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    held: Held,
    prices: Prices,
    n: int,
    full: bool,
) -> NDArray[np.bool_]:
    """Which tiles of a window the prices prove optimal: exactly, without any tolerance.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (B, R, C)
        All finite; C-contiguous, as are the others.
    mask : ndarray of bool, shape (B, R, C)
    held : Held
        What :func:`count_kept` says of the mask.
    prices : Prices
        Of the window, float64; or float32, if the scores are. NaN, infinite and huge ones prove
        nothing.
    n : int
    full : bool
        Whether rows and columns must hold exactly n, or at most n.

    Returns
    -------
    ndarray of bool, shape (B, I, J)

    Notes
    -----
    With p the float nearest to u + v and e = (u + v) - p, a score s, which is such a float too, is
    at least u + v if and only if s > p, or s = p and e <= 0. For rounding to nearest is monotone
    and leaves s as it is: s < u + v gives s <= p, and s > u + v gives s >= p. So s > p excludes
    s < u + v, s < p excludes s > u + v, and s < p excludes s = u + v, whose p would be s. Where
    s = p, s - (u + v) = -e. The same holds the other way round. e is a float, and Knuth's TwoSum
    finds it (The Art of Computer Programming 2, sec. 4.2.2, theorem B): six operations that round
    to nearest and, with prices of limited size, never overflow.
    """
    proved = np.empty((*held.columns.shape[:2], held.rows.shape[2]), np.bool_)
    limit = LARGEST_PRICE[prices.rows.dtype]
    check_window(scores, mask.view(np.uint8), *held, *prices, limit, n, full, proved)
    return proved


def count_kept(mask: NDArray[np.bool_], tile: tuple[int, int]) -> Held:
    """Count what a mask of shape (B, R, C), C-contiguous, keeps in tiles of that shape."""
    matrices, rows, columns = mask.shape
    held = Held(
        np.empty((matrices, rows, columns // tile[1]), np.int32),
        np.empty((matrices, rows // tile[0], columns), np.int32),
    )
    count_window(mask.view(np.uint8), *held)
    return held


@compile_kernel
def count_window(mask, held_rows, held_columns):
    """As :func:`count_kept`; writes what is held."""
    matrices, rows, columns = mask.shape
    across = held_rows.shape[2]
    height, width = rows // held_columns.shape[1], columns // across
    for b in range(matrices):
        for i in range(held_columns.shape[1]):
            for x in range(columns):
                held_columns[b, i, x] = 0
        for k in range(rows):
            kept, in_row, in_column = mask[b, k], held_rows[b, k], held_columns[b, k // height]
            for x in range(columns):
                in_column[x] += kept[x]
            for t in range(across):
                held = 0
                for j in range(width):
                    held += kept[t * width + j]
                in_row[t] = held


@compile_kernel
def check_window(
    scores, mask, held_rows, held_columns, row_prices, column_prices, limit, n, full, proved
):
    """As :func:`check`, which see; writes what is proved."""
    matrices, rows, columns = scores.shape
    _, down, across = proved.shape
    height, width = rows // down, columns // across
    wrong, price_of_row = np.empty(columns, np.int32), np.empty(columns, row_prices.dtype)
    for b in range(matrices):
        for i in range(down):
            verdict, v, in_column = proved[b, i], column_prices[b, i], held_columns[b, i]
            for t in range(across):
                verdict[t] = True
            for x in range(columns):
                wrong[x] = not is_due(v[x], in_column[x], limit, n, full)
            for k in range(i * height, (i + 1) * height):
                u, in_row = row_prices[b, k], held_rows[b, k]
                for t in range(across):
                    price = u[t]
                    verdict[t] &= is_due(price, in_row[t], limit, n, full)
                    for j in range(width):
                        price_of_row[t * width + j] = price
                check_row(scores[b, k], mask[b, k], price_of_row, v, wrong)
            for t in range(across):
                for j in range(width):
                    verdict[t] &= wrong[t * width + j] == 0


@helper
def check_row(scores, kept, u, v, wrong):
    """Mark columns in which an entry is on the wrong side of its price."""
    for x in range(scores.size):
        price = u[x] + v[x]
        other = price - u[x]
        error = (u[x] - (price - other)) + (v[x] - other)
        score = scores[x]
        # Of the true sign: a difference of two floats is 0 only where they are equal.
        margin = -error if score == price else score - price
        wrong[x] |= (margin if kept[x] else -margin) < 0


@helper
def is_due(price, held, limit, n, full):
    """Whether a row or column may hold so many at that price, which is a number that adds."""
    if full:
        return held == n and abs(price) <= limit
    return (held == n and 0 <= price <= limit) or (held < n and price == 0)
