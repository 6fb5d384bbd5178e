"""The number of transposable masks of one tile, exact."""

from __future__ import annotations

from functools import lru_cache
from math import factorial

from nmflow.diversity import states
from nmflow.diversity.quadrature import Quadrature, at_most_of
from nmflow.errors import NmflowError

# Terms of a quadrature that are summed at most: about a minute. 8:16 takes 7.4e5, 12:24 2.0e9,
# 13:26 2.9e10 and 16:32 5.0e12.
TERMS_LIMIT = 3_500_000_000
# A step from state to state takes Python as long as the quadrature takes for so many terms.
STEP_TERMS = 50


class OutOfReachError(NmflowError):
    """An exact count that takes too long; said before any work is done."""


@lru_cache(maxsize=256)
def count_full(m: int, n: int) -> int:
    """Masks of an m x m tile with exactly n ones in every row and column, 0 <= n <= m.

    Raises
    ------
    OutOfReachError
    """
    # Ones and zeros change places.
    n = min(n, m - n)
    if n <= 1:
        return factorial(m) if n else 1
    quadrature = Quadrature.exactly(m, n)
    if quadrature.terms > TERMS_LIMIT:
        raise OutOfReachError(
            f"counting the {n}:{m} masks of an {m} x {m} tile exactly takes"
            f" {_short(quadrature.terms)} terms, and no more than {_short(TERMS_LIMIT)} are summed"
            " (about a minute: every n up to m = 25, n <= 9 up to m = 32); use"
            " method='asymptotic', which is off by about a thousandth there"
        )
    return quadrature.count()


@lru_cache(maxsize=256)
def count_partial(rows: int, columns: int, n: int) -> int:
    """Masks of a partial tile, at most n ones in every row and column; n, rows, columns >= 0.

    Raises
    ------
    OutOfReachError
    """
    # Where a line is no longer than n it constrains nothing, and the other lines stand alone.
    if rows <= n:
        return int(at_most_of(columns, n) ** rows)
    if columns <= n:
        return int(at_most_of(rows, n) ** columns)
    if n == 0:
        return 1
    across = min(
        ((rows, columns), (columns, rows)), key=lambda sides: states.work(sides[0], sides[1], n)
    )
    quadratures = [Quadrature.at_most(rows, columns, n), Quadrature.at_most(columns, rows, n)]
    quadrature = min(quadratures, key=lambda q: q.terms)
    by_states = STEP_TERMS * states.work(*across, n)
    work = min(by_states, quadrature.terms)
    if work > TERMS_LIMIT:
        raise OutOfReachError(
            f"counting the masks of a partial {rows} x {columns} tile with at most {n} in every row"
            f" and column takes {_short(work)} terms, and no more than {_short(TERMS_LIMIT)} are"
            " summed; the formulas of method='asymptotic' and 'paper' are for whole tiles: leave"
            " out the ragged edge, that is, give a shape that m divides"
        )
    return states.count_at_most(*across, n) if by_states < quadrature.terms else quadrature.count()


def _short(number: int) -> str:
    return f"{number:.1e}" if number < 10**300 else f"10^{len(str(number)) - 1}"
