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

from nmflow.compiling.jit import compile_kernel, unaliased
from nmflow.problem.pattern import Pair
from nmflow.problem.prices import Prices
from nmflow.proof.kept_sum import KeptSums, add_row, patterns_of, widen_range
from nmflow.proof.lines import add_up, clear, count, lines_for, no_prices, spread, words_of

# Sums of two prices must not overflow.
_LARGEST_PRICE = {
    np.dtype(np.float32): np.float32(2.0**120),
    np.dtype(np.float64): np.float64(2.0**1000),
}
# Marks of rows and columns. Those of a tile are added up, each kind in bits of its own.
_RIGHT, _NOT_DUE, _UNPROVED = np.uint32(0), np.uint32(1), np.uint32(1 << 16)
_ALL_NOT_DUE = np.uint32(_UNPROVED - 1)


class Verdict(NamedTuple):
    """What is known of each tile of a window: ndarrays of bool, shape (B, I, J).

    Attributes
    ----------
    due : ndarray
        Whether its rows and columns hold what they should.
    proved : ndarray
        Whether prices prove its mask optimal.
    """

    due: NDArray[np.bool_]
    proved: NDArray[np.bool_]


class Rules(NamedTuple):
    """What a window is checked for: see :func:`check`."""

    n: Pair
    full: bool
    unsigned: bool
    priced: bool


def check(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    prices: Prices | None,
    tile: tuple[int, int],
    n: Pair,
    full: bool,
    kept: KeptSums | None = None,
) -> Verdict:
    """Which tiles of a window the prices prove optimal: exactly, without any tolerance.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (B, R, C)
        C-contiguous, as are the others.
    mask : ndarray of bool, shape (B, R, C)
    prices : Prices, optional
        Of the window, float64; or float32, if the scores are. NaN, infinite and huge ones prove
        nothing, and neither do none.
    tile : (int, int)
        Rows and columns of a tile.
    n : (int, int)
        What rows hold, and what columns do.
    full : bool
        Whether rows and columns must hold exactly n, or at most n.
    kept : KeptSums, optional
        What is kept is added to it. It may say that the scores are what these numbers are without
        their signs, and finds those that are not finite; else all must be.

    Notes
    -----
    With p the float nearest to u + v and e = (u + v) - p, a score s, which is such a float too, is
    at least u + v if and only if s - p, rounded, is at least e. For if s - p and e have the same
    sign, u + v lies between p and s, no nearer to s than to p, or s would be the nearest float: so
    s - p is at least 2 e in size, and stays so if rounded, since 2 e is a float. Where s = p,
    s - (u + v) = -e. The same holds the other way round. e is a float, and Knuth's TwoSum finds it
    (The Art of Computer Programming 2, sec. 4.2.2, theorem B): six operations that round to nearest
    and, with prices of limited size, never overflow.
    """
    matrices, rows, columns = scores.shape
    assert tile[1] < _UNPROVED
    grid = matrices, rows // tile[0], columns // tile[1]
    verdict = Verdict(np.empty(grid, np.bool_), np.empty(grid, np.bool_))
    given = no_prices(scores, tile) if prices is None else prices
    dtype = given.rows.dtype
    sums = KeptSums.unwanted(scores, False) if kept is None else kept
    with lines_for(columns, tile, dtype) as lines:
        check_window(
            scores,
            mask.view(np.uint8),
            words_of(mask, tile),
            *given,
            _LARGEST_PRICE[dtype],
            Rules(n, full, sums.unsigned, prices is not None),
            lines,
            patterns_of(scores),
            sums.sums,
            sums.extremes,
            *verdict,
        )
    return verdict


@compile_kernel(nrt=False)
def check_window(
    scores,
    mask,
    words,
    row_prices,
    column_prices,
    limit,
    rules,
    lines,
    patterns,
    sums,
    extremes,
    due,
    proved,
):
    """As :func:`check`, which see; writes the verdict."""
    _, down, across = due.shape
    height, width = scores.shape[1] // down, scores.shape[2] // across
    for b in range(due.shape[0]):
        for i in range(down):
            top, v = i * height, column_prices[b, i]
            count(words[b, top : top + height], width, lines)
            clear(lines.flags)
            clear(lines.by_tile)
            for k in range(height):
                row, kept, u = scores[b, top + k], mask[b, top + k], row_prices[b, top + k]
                held = lines.by_row[k * across : (k + 1) * across]
                judge(held, u, limit, np.uint32(rules.n[0]), rules.full, lines.by_tile)
                if sums.size:
                    add_row(row, patterns[b, top + k], kept, rules.unsigned, sums, extremes)
                elif extremes.size:
                    widen_range(patterns[b, top + k], kept, extremes)
                if rules.priced:
                    spread(u, width, lines.price, lines.spare_price)
                    check_row(row, kept, rules.unsigned, lines.price, v, lines.flags)
            judge(lines.by_column, v, limit, np.uint32(rules.n[1]), rules.full, lines.flags)
            add_up(lines.flags, lines.spare, width, lines.by_row[:across])
            decide(lines.by_tile, lines.by_row, rules.priced, due[b, i], proved[b, i])


@unaliased
def check_row(scores, kept, unsigned, u, v, flags):
    """Mark columns in which an entry is on the wrong side of its price."""
    zero = u.dtype.type(0)
    for x in range(scores.size):
        price = u[x] + v[x]
        other = price - u[x]
        error = (u[x] - (price - other)) + (v[x] - other)
        margin = ((abs(scores[x]) if unsigned else scores[x]) - price) - error
        margin = margin if kept[x] else -margin
        flags[x] |= _UNPROVED if margin < zero else _RIGHT


@unaliased
def judge(held, prices, limit, n, full, flags):
    """Mark rows or columns that may not hold what they do, or not at their price."""
    zero = prices.dtype.type(0)
    if full:
        for x in range(flags.size):
            flags[x] |= _RIGHT if held[x] == n else _NOT_DUE
            flags[x] |= _RIGHT if abs(prices[x]) <= limit else _UNPROVED
        return
    for x in range(flags.size):
        flags[x] |= _RIGHT if held[x] <= n else _NOT_DUE
        most = limit if held[x] == n else zero
        flags[x] |= _RIGHT if (prices[x] >= zero) & (prices[x] <= most) else _UNPROVED


@unaliased
def decide(by_rows, by_columns, priced, due, proved):
    """What the marks of the rows and of the columns of tiles come to."""
    for t in range(due.size):
        marks = np.uint32(by_rows[t] | by_columns[t])
        due[t] = (marks & _ALL_NOT_DUE) == 0
        proved[t] = priced & (marks == 0)
