"""The number of transposable masks of one tile, exact; of all, and by the ones they hold."""

from __future__ import annotations

from functools import lru_cache
from math import comb, factorial

from nmflow.diversity import states
from nmflow.diversity.graded import GradedQuadrature
from nmflow.diversity.quadrature import Quadrature, at_most_of
from nmflow.errors import NmflowError

# Terms of a quadrature that are summed at most: about a minute. 8:16 takes 7.4e5, 12:24 2.0e9,
# 13:26 2.9e10 and 16:32 5.0e12.
TERMS_LIMIT = 3_500_000_000
# A step from state to state takes Python as long as the quadrature takes for so many terms.
STEP_TERMS = 50
# The same where counts are kept apart by their ones, about a minute too: 8:16 takes 1.2e8.
GRADED_TERMS_LIMIT = 1_000_000_000
GRADED_STEP_TERMS = 10
# Bits of the long integers of a step that cost as much as the step itself.
_STEP_BITS = 1 << 14


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


@lru_cache(maxsize=256)
def count_by_ones(m: int, n: int) -> tuple[int, ...]:
    """Masks of an m x m tile with at most n in every row and column, by how many ones they hold.

    Parameters
    ----------
    m, n : int
        0 <= n <= m.

    Returns
    -------
    tuple of int, length m n + 1
        How many hold 0, 1, ... m n ones.

    Raises
    ------
    OutOfReachError
        Before any work is done.
    """
    if n in (0, m):
        return tuple(comb(m * m, k) for k in range(m * n + 1))
    by_states = graded_states_terms(m, n)
    quadrature = GradedQuadrature(m, n)
    work = min(by_states, quadrature.terms)
    if work > GRADED_TERMS_LIMIT:
        raise OutOfReachError(
            f"counting the {m} x {m} tiles with at most {n} in every row and column by their ones"
            f" takes {_short(work)} terms, and no more than {_short(GRADED_TERMS_LIMIT)} are summed"
        )
    if by_states < quadrature.terms:
        return tuple(states.count_by_ones(m, m, n))
    return tuple(quadrature.count())


def graded_states_terms(m: int, n: int) -> int:
    """What counting by states costs, in terms of a :class:`GradedQuadrature`."""
    step = 1 + states.digit_bits(m, m, n) * (m * m + 1) // _STEP_BITS
    return GRADED_STEP_TERMS * step * states.work(m, m, n)


def _short(number: int) -> str:
    return f"{number:.1e}" if number < 10**300 else f"10^{len(str(number)) - 1}"
