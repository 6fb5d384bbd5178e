"""``mask_diversity``: a shape is cut into groups or tiles, and what each allows is multiplied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Literal, NamedTuple, get_args, overload

from nmflow.diversity import estimates, tile
from nmflow.diversity.quadrature import at_most_of
from nmflow.errors import NmflowError
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import as_integer, check_known

DiversityPattern = Literal["transposable", "rows", "columns", "unstructured", "sequential"]
DiversityMethod = Literal["exact", "paper", "asymptotic"]
Whole = Literal["exact", "paper"]
Shape = Sequence[int] | None
PATTERNS: tuple[str, ...] = get_args(DiversityPattern)
METHODS: tuple[str, ...] = get_args(DiversityMethod)

# Decimal digits of a number that is formed: a second's work.
DIGITS_LIMIT = 1_000_000
_FLOAT_DIGITS = 308


class Factor(NamedTuple):
    """``ways ** times``; ``ways`` is None where only its logarithm is known."""

    log10_ways: float
    ways: Callable[[], int] | None
    times: int


@overload
def mask_diversity(
    n: int, m: int, pattern: DiversityPattern = ..., *, shape: Shape = ..., method: Whole = ...
) -> int: ...


@overload
def mask_diversity(
    n: int,
    m: int,
    pattern: DiversityPattern = ...,
    *,
    shape: Shape = ...,
    method: Literal["asymptotic"],
) -> float: ...


@overload
def mask_diversity(
    n: int, m: int, pattern: DiversityPattern = ..., *, shape: Shape = ..., method: DiversityMethod
) -> int | float: ...


@standard_arithmetic
def mask_diversity(
    n: int,
    m: int,
    pattern: DiversityPattern = "transposable",
    *,
    shape: Shape = None,
    method: DiversityMethod = "exact",
) -> int | float:
    """How many masks a pattern allows.

    Hubara et al. call this number mask diversity: the more masks a constraint allows, the more
    accuracy a network can keep under it.

    Parameters
    ----------
    n, m : int
        Keep n of every m, 0 <= n <= m. (n counts what is kept; Hubara et al. count zeros.)
    pattern : {"transposable", "rows", "columns", "unstructured", "sequential"}
        As for :func:`nmflow.solve`: ``transposable`` keeps n in every row and column of each m x m
        tile, ``rows`` and ``columns`` n of every m along the last and the first axis of the
        matrices, ``unstructured`` round(n/m * size) of each matrix. ``sequential`` is ``rows``
        where the m - n zeros of a group stand side by side: n + 1 ways (one if n = m).
    shape : sequence of int, at least two, optional
        Of the weights: matrices span the last two axes, all others are batch. By default one
        m x m tile. A shape without entries has one mask.
    method : {"exact", "paper", "asymptotic"}
        The last two are estimates where the pattern is ``transposable``; the other patterns have
        a closed form.

        - ``exact``: to the last digit. Transposable tiles of every n for m <= 25, of n <= 9 for
          m <= 32 (and of n >= m - 9). 8:16 takes less than 0.1 s; 12:25, the dearest, a minute
          and half a gigabyte.
        - ``paper``: the formulas of Hubara et al., whole groups and tiles alone; transposable
          tiles by m! (m-1)! ... (m-n+1)!, with N of the paper read as the kept n. Right for n = 1;
          1.6 times too high at 2:4, 150 times at 4:8, 1e19 times at 8:16; a quarter too low at
          2:16.
        - ``asymptotic``: transposable tiles by the formula of Canfield & McKay for 0/1 matrices
          with constant margins. It tends to the count as m grows and n/m stays; too high by 0.86 %
          at 2:4, 0.38 % at 4:8, 0.097 % at 8:16, 0.043 % at 12:24; 2.1 % at 1:8, 0.05 % at 8:32.
          Partial tiles are counted exactly.

    Returns
    -------
    int or float
        Python int for ``exact`` and ``paper``. (Python prints ints of more than 4300 digits only
        after ``sys.set_int_max_str_digits``.) Float for ``asymptotic``.

    Raises
    ------
    NmflowError
        For n, m, shape, pattern or method that make no sense; where the exact count is out of
        reach, before any work is done; and where the number itself is too long:
        :func:`log10_mask_diversity` does not form it.

    Notes
    -----
    Where m does not divide the shape, the groups of the ragged edge hold *at most* n, and those
    masks are counted: sum over k <= n of C(length, k) for a partial group, all 0/1 matrices with
    at most n in every row and column for a partial tile, for ``sequential`` all runs of zeros
    (also none, where n allows it) that leave at most n. They are the masks that
    :func:`nmflow.certify` calls feasible and full. :func:`nmflow.solve` fills such groups as far as
    scores are not negative, so it returns any of them for some ``score="raw"``.

    The count of a shape is the product over its groups or tiles. One transposable tile is counted
    by a sum over roots of unity modulo primes, C(m + n, n) / (n + 1) terms for each prime (n <=
    m/2, else zeros and ones change places), most of them matrix products; results are remembered.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor, Soudry, "Accelerated Sparse Neural Training", NeurIPS
    2021. Canfield, McKay, "Asymptotic enumeration of dense 0-1 matrices with equal row sums and
    equal column sums", Electronic Journal of Combinatorics 12, 2005. Counts of small tiles: OEIS
    A008300 (McKay), A058527 for n = m/2.

    Examples
    --------
    >>> import nmflow
    >>> nmflow.mask_diversity(2, 4), nmflow.mask_diversity(2, 4, "rows")
    (90, 1296)
    >>> nmflow.mask_diversity(4, 8)
    116963796250
    >>> nmflow.mask_diversity(2, 4, shape=(8, 8)) == 90**4
    True
    """
    factors = _factors(n, m, pattern, shape, method)
    digits = _log10(factors)
    if method == "asymptotic":
        if digits >= _FLOAT_DIGITS:
            raise NmflowError(
                f"10^{digits:.6g} masks are more than a float holds (10^{_FLOAT_DIGITS}):"
                " use log10_mask_diversity"
            )
        return float(10.0**digits)
    if digits > DIGITS_LIMIT:
        raise NmflowError(
            f"the number of masks of shape {_shown(shape)} has {int(digits) + 1:,} digits, and no"
            f" more than {DIGITS_LIMIT:,} are formed: use log10_mask_diversity"
        )
    return math.prod(int(f.ways() ** f.times) for f in factors if f.ways is not None)


@standard_arithmetic
def log10_mask_diversity(
    n: int,
    m: int,
    pattern: DiversityPattern = "transposable",
    *,
    shape: Shape = None,
    method: DiversityMethod = "exact",
) -> float:
    """The logarithm to base 10 of :func:`mask_diversity`, for shapes of any size.

    The count of a shape is never formed, so millions of weights take no longer than one tile.

    Parameters
    ----------
    n, m, pattern, shape, method
        As for :func:`mask_diversity`.

    Returns
    -------
    float
        Right to about 15 digits (of the method's number).

    Raises
    ------
    NmflowError
        As for :func:`mask_diversity`, save that no number is too long.

    Examples
    --------
    >>> import nmflow
    >>> round(nmflow.log10_mask_diversity(4, 8, shape=(4096, 4096)), 3)
    2901423.281
    """
    return _log10(_factors(n, m, pattern, shape, method))


def _log10(factors: list[Factor]) -> float:
    return math.fsum(f.log10_ways * f.times for f in factors)


def _factors(n: Any, m: Any, pattern: Any, shape: Any, method: Any) -> list[Factor]:
    """What the arguments ask for, checked, as powers to multiply."""
    n, m = as_integer("n", n), as_integer("m", m)
    if m < 1 or n < 0 or n > m:
        raise NmflowError(
            f"n:m = {n}:{m} keeps n of every m entries, so m >= 1 and 0 <= n <= m must hold"
            " (n counts the kept entries, not the zeros)"
        )
    check_known("pattern", pattern, PATTERNS)
    check_known("method", method, METHODS)
    *batch, rows, columns = (m, m) if shape is None else _sides(shape)
    matrices = math.prod(batch)
    if method == "paper" and pattern != "unstructured":
        _check_whole(m, rows if pattern in ("transposable", "columns") else m, shape)
        _check_whole(m, columns if pattern != "columns" else m, shape)
    if pattern == "transposable":
        of_matrix = _tiles(n, m, rows, columns, method)
    elif pattern == "unstructured":
        size = rows * columns
        kept = round(Fraction(n, m) * size)
        ways = partial(estimates.binomial, size, kept)
        of_matrix = iter([Factor(estimates.log10_binomial(size, kept), ways, 1)])
    else:
        lines, length = (columns, rows) if pattern == "columns" else (rows, columns)
        of_matrix = _groups(n, m, lines, length, sequential=pattern == "sequential")
    return [factor._replace(times=factor.times * matrices) for factor in of_matrix]


def _tiles(n: int, m: int, rows: int, columns: int, method: str) -> Iterator[Factor]:
    for height, down in _parts(rows, m):
        for width, across in _parts(columns, m):
            times = down * across
            if (height, width) != (m, m):
                yield _whole_number(tile.count_partial(height, width, n), times)
            elif method == "exact":
                yield _whole_number(tile.count_full(m, n), times)
            elif method == "paper":
                yield _whole_number(estimates.paper_tile(m, n), times)
            else:
                yield Factor(estimates.log10_asymptotic_tile(m, n), None, times)


def _groups(n: int, m: int, lines: int, length: int, *, sequential: bool) -> Iterator[Factor]:
    for size, groups in _parts(length, m):
        # Entries that a group may lose: just m - n, or so many or more at the ragged edge.
        lost = [m - n] if size == m else range(max(size - n, 0), size + 1)
        if sequential:
            ways = sum(size - zeros + 1 if zeros else 1 for zeros in lost)
        else:
            ways = math.comb(m, n) if size == m else at_most_of(size, n)
        yield _whole_number(ways, lines * groups)


def _parts(length: int, m: int) -> Iterator[tuple[int, int]]:
    """The groups of an axis: their length and how many there are."""
    if length >= m:
        yield m, length // m
    if length % m:
        yield length % m, 1


def _whole_number(ways: int, times: int) -> Factor:
    return Factor(math.log10(ways), lambda: ways, times)


def _check_whole(m: int, side: int, shape: Any) -> None:
    if side % m:
        raise NmflowError(
            f"the paper's formulas are for whole groups and tiles, and {m} does not divide {side}"
            f" in shape {_shown(shape)}: use method='exact', which counts partial ones too"
        )


def _sides(shape: Any) -> list[int]:
    try:
        sides = [as_integer("a side of shape", side) for side in shape]
    except TypeError:
        raise NmflowError(
            f"shape must be a sequence of two or more integers, got {shape!r}"
        ) from None
    if len(sides) < 2 or min(sides) < 0:
        raise NmflowError(
            f"shape must have two or more sides, none of them negative, got {_shown(sides)}: the"
            " last two are those of the matrices"
        )
    return sides


def _shown(shape: Any) -> str:
    return str(tuple(shape)) if shape is not None else "(m, m)"
