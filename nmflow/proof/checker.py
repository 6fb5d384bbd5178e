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
from nmflow.problem.pattern import Pair
from nmflow.problem.prices import Prices
from nmflow.proof.kept_sum import KeptSums, add_row, patterns_of, widen_range
from nmflow.proof.lines import Lines, add_up, begin, count_row, no_prices, spread

# Sums of two prices must not overflow.
_LARGEST_PRICE = {
    np.dtype(np.float32): np.float32(2.0**120),
    np.dtype(np.float64): np.float64(2.0**1000),
}
# What fits a byte.
_NARROW = 255


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
    at least u + v if and only if s > p, or s = p and e <= 0. For rounding to nearest is monotone
    and leaves s as it is: s < u + v gives s <= p, and s > u + v gives s >= p. So s > p excludes
    s < u + v, s < p excludes s > u + v, and s < p excludes s = u + v, whose p would be s. Where
    s = p, s - (u + v) = -e. The same holds the other way round. e is a float, and Knuth's TwoSum
    finds it (The Art of Computer Programming 2, sec. 4.2.2, theorem B): six operations that round
    to nearest and, with prices of limited size, never overflow.
    """
    matrices, rows, columns = scores.shape
    grid = matrices, rows // tile[0], columns // tile[1]
    verdict = Verdict(np.empty(grid, np.bool_), np.empty(grid, np.bool_))
    given = no_prices(scores, tile) if prices is None else prices
    dtype = given.rows.dtype
    sums = KeptSums.unwanted(scores, False) if kept is None else kept
    check_window(
        scores,
        mask.view(np.uint8),
        *given,
        _LARGEST_PRICE[dtype],
        Rules(n, full, sums.unsigned, prices is not None),
        Lines.of(columns, tile, dtype),
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
    # What rows hold is counted in a byte for each, four rows at a time.
    step, bits = (4, 8) if width <= _NARROW else (1, 32)
    for b in range(due.shape[0]):
        for i in range(down):
            verdict = due[b, i], proved[b, i]
            begin(lines, verdict, rules.priced)
            v = column_prices[b, i]
            for first in range(i * height, (i + 1) * height, step):
                last = min(first + step, (i + 1) * height)
                for x in range(lines.counts.size):
                    lines.counts[x] = 0
                for k in range(first, last):
                    row, kept = scores[b, k], mask[b, k]
                    count_row(kept, bits * (k - first), lines.counts, lines.held)
                    if sums.size:
                        add_row(row, kept, rules.unsigned, sums)
                    if extremes.size:
                        widen_range(patterns[b, k], kept, extremes)
                    if rules.priced:
                        spread(row_prices[b, k], width, lines)
                        check_row(row, kept, rules.unsigned, lines.price, v, lines.wrong)
                add_up(lines, width)
                for k in range(first, last):
                    u, place = row_prices[b, k], (bits * (k - first), bits)
                    judge_row(lines.by_tile, place, u, limit, rules, verdict)
            judge_columns(lines, width, v, limit, rules, verdict)


@helper
def check_row(scores, kept, unsigned, u, v, wrong):
    """Mark columns in which an entry is on the wrong side of its price."""
    for x in range(scores.size):
        price = u[x] + v[x]
        other = price - u[x]
        error = (u[x] - (price - other)) + (v[x] - other)
        score = abs(scores[x]) if unsigned else scores[x]
        # Of the true sign: a difference of two floats is 0 only where they are equal.
        margin = -error if score == price else score - price
        wrong[x] |= (margin if kept[x] else -margin) < 0


@helper
def judge_row(counts, place, prices, limit, rules, verdict):
    """Whether a row of each tile may hold what these bits of its counts say."""
    due, proved = verdict
    shift, bits = place
    for t in range(due.size):
        held = np.uint32(np.uint32(counts[t] >> np.uint32(shift)) & np.uint32((1 << bits) - 1))
        due[t] &= may_hold(held, rules.n[0], rules)
        proved[t] &= is_due(prices[t], held, rules.n[0], limit, rules)


@helper
def judge_columns(lines, width, prices, limit, rules, verdict):
    """Whether the columns of each tile may hold what they do, and are right in every row."""
    due, proved = verdict
    for x in range(lines.held.size):
        lines.counts[x] = not may_hold(lines.held[x], rules.n[1], rules)
    add_up(lines, width)
    for t in range(due.size):
        due[t] &= lines.by_tile[t] == 0
    for x in range(lines.held.size):
        right = is_due(prices[x], lines.held[x], rules.n[1], limit, rules)
        lines.counts[x] = lines.wrong[x] | np.uint8(not right)
    add_up(lines, width)
    for t in range(proved.size):
        proved[t] &= lines.by_tile[t] == 0


@helper
def may_hold(held, most, rules):
    """Whether a row or column may hold so many at some price."""
    n = np.uint32(most)
    return held == n if rules.full else held <= n


@helper
def is_due(price, held, most, limit, rules):
    """Whether a row or column may hold so many at that price, which is a number that adds."""
    n = np.uint32(most)
    # Without branches, of which LLVM makes no vectors.
    if rules.full:
        return (held == n) & (abs(price) <= limit)
    return ((held == n) & (price >= 0) & (price <= limit)) | ((held < n) & (price == 0))
