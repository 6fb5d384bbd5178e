"""Formulas that stand in for a count, and binomials too long to be formed."""

from __future__ import annotations

import math

import numpy as np

# math.comb's time grows with the square of the digits; from here on primes are faster.
_COMB_SIZE = 20_000
# From here on Stirling's series, to its third term, is exact to the last bit of a float64.
_STIRLING = 64


def paper_tile(m: int, n: int) -> int:
    """The paper's number of transposable masks of an m x m tile: m! (m-1)! ... (m-n+1)!.

    Hubara et al. (NeurIPS 2021, Table 1) write N for the zeros, but the product has one factor for
    each kept entry of a row: with n = 1 it is m!, the permutation matrices, and exact. It is an
    estimate for n > 1: the factors count ways to add one more permutation matrix.
    """
    return math.prod(math.factorial(m - k) for k in range(n))


def log10_asymptotic_tile(m: int, n: int) -> float:
    """log10 of the asymptotic number of m x m 0/1 matrices with n ones in each row and column.

    C(m, n)**(2 m) / C(m**2, m n) * ((m - 1) / m)**(m - 1) * sqrt(e): all matrices with the right
    rows, times the chance that the columns are right too if rows and columns only shared their
    total, times a correction. Canfield & McKay ("Asymptotic enumeration of dense 0-1 matrices with
    equal row sums and equal column sums", Electronic J. Combin. 2005) prove the correction
    exp(-1/2) + o(1); Canfield, Greenhill & McKay (J. Combin. Theory A 2008) extend it to unequal
    sums. The form used here has the same limit and is nearer at the sizes in use; errors are in
    :func:`nmflow.mask_diversity`.
    """
    if n in (0, m):
        return 0.0
    lines = 2 * m * math.log10(math.comb(m, n)) - log10_binomial(m * m, m * n)
    return lines + ((m - 1) * math.log1p(-1 / m) + 0.5) / math.log(10)


def log10_binomial(size: int, kept: int) -> float:
    """log10 of C(size, kept), to about 15 digits, without forming it."""
    left = size - kept
    if min(kept, left) < _STIRLING:
        return math.log10(math.comb(size, kept))
    # No differences of large logarithms: size * entropy, and the remainders of ln x!.
    few, many = min(kept, left), max(kept, left)
    parts = few * math.log(size / few), many * -math.log1p(-few / size)
    spread = 0.5 * math.log(2 * math.pi * few * (many / size))
    series = _remainder(size) - _remainder(kept) - _remainder(left)
    return math.fsum((*parts, -spread, series)) / math.log(10)


def _remainder(x: int) -> float:
    """What Stirling's x ln x - x + ln(2 pi x) / 2 lacks of ln x!."""
    return (1 / 12 - (1 / 360 - 1 / (1260 * x**2)) / x**2) / x


def binomial(size: int, kept: int) -> int:
    """C(size, kept), also of a million digits: a product of prime powers."""
    if size < _COMB_SIZE:
        return math.comb(size, kept)
    sieve = np.ones(size + 1, np.bool_)
    sieve[:2] = False
    for p in range(2, math.isqrt(size) + 1):
        if sieve[p]:
            sieve[p * p :: p] = False
    powers = []
    for p in map(int, np.flatnonzero(sieve)):
        # Kummer: the exponent is the number of carries when kept and the rest are added in base p.
        exponent, q = 0, p
        while q <= size:
            exponent += size // q - kept // q - (size - kept) // q
            q *= p
        if exponent:
            powers.append(p**exponent)
    return _product(powers)


def _product(factors: list[int]) -> int:
    """The product in a balanced tree, so that long numbers only meet long numbers."""
    while len(factors) > 1:
        pairs = [math.prod(factors[i : i + 2]) for i in range(0, len(factors), 2)]
        factors = pairs
    return factors[0] if factors else 1
