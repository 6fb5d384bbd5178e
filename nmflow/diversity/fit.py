"""How likely weights that are sparse already are n:m: "unstructured in, n:m out"."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, SupportsFloat, get_args, overload

from nmflow.diversity.probability import Ratio, as_share, check_size, group_fits, tile_fits
from nmflow.diversity.tile import OutOfReachError
from nmflow.errors import NmflowError
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import as_integer, check_known

FitPattern = Literal["transposable", "rows", "columns"]
Result = Literal["float", "fraction", "log10"]
# A float, an int, or what is exact: Fraction and Decimal.
Share = SupportsFloat
PATTERNS: tuple[str, ...] = get_args(FitPattern)
RESULTS: tuple[str, ...] = get_args(Result)


@overload
def group_fit_probability(
    n: int,
    m: int,
    *,
    sparsity: Share | None = ...,
    density: Share | None = ...,
    pattern: FitPattern = ...,
    result: Literal["float", "log10"] = ...,
) -> float: ...


@overload
def group_fit_probability(
    n: int,
    m: int,
    *,
    sparsity: Share | None = ...,
    density: Share | None = ...,
    pattern: FitPattern = ...,
    result: Literal["fraction"],
) -> Fraction: ...


@overload
def group_fit_probability(
    n: int,
    m: int,
    *,
    sparsity: Share | None = ...,
    density: Share | None = ...,
    pattern: FitPattern = ...,
    result: Result,
) -> float | Fraction: ...


@standard_arithmetic
def group_fit_probability(
    n: int,
    m: int,
    *,
    sparsity: Share | None = None,
    density: Share | None = None,
    pattern: FitPattern = "transposable",
    result: Result = "float",
) -> float | Fraction:
    """The probability that randomly sparse weights are n:m as they are.

    Each weight is kept, independently of the others, with the same probability. A group of m, or
    an m x m tile, fits n:m if no more than n are kept in it, or in each of its rows and columns:
    then n:m sparse hardware takes it without any loss.

    Parameters
    ----------
    n, m : int
        At most n of every m are kept, 0 <= n <= m. (n counts what is kept, as everywhere in
        nmflow; Hubara et al. count zeros.)
    sparsity : float, int, Fraction or Decimal
        The probability that a weight is zero, from 0 to 1; of a pruned tensor,
        ``(weights == 0).mean()``. Calculations are exact for the number given:
        ``Fraction(9, 10)`` is nine tenths, 0.9 the float beside it.
    density : float, int, Fraction or Decimal
        The probability that a weight is kept, 1 - sparsity. Give one of the two.
    pattern : {"transposable", "rows", "columns"}
        What is to fit: a whole m x m tile, every row and column of it; or one group of m along a
        row or a column, where the probability is the same.
    result : {"float", "fraction", "log10"}
        The probability as the nearest float; as a Fraction, exact; or its logarithm to base 10,
        right to about 15 digits, -inf where nothing fits.

    Returns
    -------
    float or Fraction

    Raises
    ------
    NmflowError
        For n, m, pattern or result that make no sense; if not exactly one of sparsity and density
        is given, or it is no number from 0 to 1 (NaN is none); if the probability is less than
        the smallest normal float, 2.2e-308, but not 0, and a float was asked for; and, before any
        work is done, where the exact number is out of reach. The message then says between which
        bounds it lies.

    Notes
    -----
    With p the density, a group fits with probability sum over k <= n of C(m, k) p^k (1 - p)^(m-k).
    A tile fits with probability sum over k of N_k p^k (1 - p)^(m^2 - k), where N_k of the 0/1
    matrices of m x m with at most n ones in each row and column hold k ones. The N_k are counted
    exactly, by a quadrature over roots of unity or row by row, and remembered: every n for m <=
    14, n <= 10 and n >= 13 for m = 16, n <= 5 for m = 32. 4:8 takes 0.05 s, 8:16 ten seconds,
    10:16 a minute.

    Sums and powers are of integers, of any length, and rounded once at the end. Where sparsity is
    nearly 1, ask for a fraction to see what lacks from 1.

    Trained weights are not independent: some rows and columns hold more than others, so fewer
    groups fit than this says. To have all of T tiles fit, ask for ``probability ** T``.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor, Soudry, "Accelerated Sparse Neural Training", NeurIPS
    2021, on what unstructured sparsity leaves to n:m masks.

    Examples
    --------
    >>> import nmflow
    >>> round(nmflow.group_fit_probability(2, 4, sparsity=0.5, pattern="rows"), 4)
    0.6875
    >>> round(nmflow.group_fit_probability(4, 8, sparsity=0.9), 4)
    0.9932
    >>> nmflow.group_fit_probability(1, 2, density=0.5, result="fraction")
    Fraction(7, 16)
    """
    n, m = as_integer("n", n), as_integer("m", m)
    if m < 1 or n < 0 or n > m:
        raise NmflowError(
            f"n:m = {n}:{m} keeps at most n of every m entries, so m >= 1 and 0 <= n <= m must hold"
            " (n counts the kept entries, not the zeros)"
        )
    check_known("pattern", pattern, PATTERNS)
    check_known("result", result, RESULTS)
    kept = _density(sparsity, density)
    fits = tile_fits(n, m, kept) if pattern == "transposable" else group_fits(n, m, kept)
    if result == "fraction":
        return Fraction(*fits)
    return fits.log10() if result == "log10" else fits.as_float()


@standard_arithmetic
def suggest_n(
    m: int,
    sparsity: Share,
    confidence: Share = 0.95,
    *,
    pattern: FitPattern = "transposable",
) -> int:
    """The smallest n at which randomly sparse weights are likely n:m as they are.

    Parameters
    ----------
    m : int
        Size of a group, or side of a tile.
    sparsity : float, int, Fraction or Decimal
        The probability that a weight is zero, from 0 to 1: ``(weights == 0).mean()``.
    confidence : float, int, Fraction or Decimal, default 0.95
        The least probability with which one group, or tile, must fit; 1 asks for certainty.
    pattern : {"transposable", "rows", "columns"}
        As for :func:`group_fit_probability`.

    Returns
    -------
    int
        From 1, which is the least that masks keep, to m, at which everything fits.

    Raises
    ------
    NmflowError
        For arguments that make no sense, as for :func:`group_fit_probability`; and where an exact
        probability is out of reach that it takes to decide, with the n that is surely enough.

    Notes
    -----
    For tiles exact counts decide only where bounds don't. With g the probability that a group
    fits, a tile fits with g^(2 m) at least, since that some lines fit makes it no less likely that
    others do (Harris), and with g^m at most, since its rows are independent.

    References
    ----------
    Harris, "A lower bound for the critical probability in a certain percolation process", 1960.

    Examples
    --------
    >>> import nmflow
    >>> nmflow.suggest_n(8, 0.9), nmflow.suggest_n(8, sparsity=0.9, pattern="rows")
    (4, 2)
    >>> nmflow.suggest_n(16, 0.75, confidence=0.99)
    10
    """
    m = as_integer("m", m)
    if m < 1:
        raise NmflowError(f"m must be 1 or more, got {m}: it is the size of a group")
    check_known("pattern", pattern, PATTERNS)
    kept, wanted = _rest(as_share("sparsity", sparsity)), as_share("confidence", confidence)
    if pattern != "transposable":
        return _smallest(m, kept, wanted, 1)
    check_size(2 * m * m, 2 * m * m, kept)
    least, enough = _smallest(m, kept, wanted, m), _smallest(m, kept, wanted, 2 * m)
    for n in range(least, enough):
        try:
            if tile_fits(n, m, kept).at_least(wanted):
                return n
        except OutOfReachError as error:
            raise OutOfReachError(
                f"the smallest n for {m} x {m} tiles lies from {n} to {enough}, and {enough} is"
                f" enough; which one it is was not found: {error}"
            ) from None
    return enough


def _smallest(m: int, kept: Ratio, wanted: Ratio, power: int) -> int:
    """The smallest n, 1 or more, for which a power of the group's probability is enough."""
    low, high = 1, m
    while low < high:
        middle = (low + high) // 2
        if group_fits(middle, m, kept).at_least(wanted, power):
            high = middle
        else:
            low = middle + 1
    return low


def _density(sparsity: Any, density: Any) -> Ratio:
    if (sparsity is None) == (density is None):
        raise NmflowError(
            "give one of sparsity, the share of zeros, and density, the share that is kept:"
            " sparsity=0.9 and density=0.1 mean the same"
        )
    if density is not None:
        return as_share("density", density)
    return _rest(as_share("sparsity", sparsity))


def _rest(share: Ratio) -> Ratio:
    return Ratio(share.whole - share.part, share.whole)
