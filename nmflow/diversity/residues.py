"""Arithmetic modulo primes below 2**25, in float64, where every step is exact.

Residues are kept centred, so they stay below 2**24 and a sum of 31 products below 2**53: matrix
products of residues come out of BLAS exact. Integers of any length come back from enough primes by
the Chinese remainder theorem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIME_BITS = 25


class Residues:
    """Arrays of residues modulo several primes at once, the primes along the first axis.

    Parameters
    ----------
    primes : sequence of int
        Below 2**25.
    """

    def __init__(self, primes: Sequence[int]) -> None:
        self.primes = tuple(primes)
        self._modulus: Floats = np.array(primes, np.float64)
        self._inverse: Floats = 1 / self._modulus

    def reduce(self, x: Floats, scratch: Floats | None = None) -> Floats:
        """Reduce integers below 2**53 in size to centred residues, in place."""
        shape = (-1,) + (1,) * (x.ndim - 1)
        quotient = np.multiply(x, self._inverse.reshape(shape), out=scratch)
        np.rint(quotient, out=quotient)
        quotient *= self._modulus.reshape(shape)
        x -= quotient
        return x

    def power(self, x: Floats, exponent: int) -> Floats:
        """``x ** exponent`` of centred residues; ``x`` is overwritten."""
        scratch = np.empty_like(x)
        result: Floats | None = None
        while True:
            if exponent & 1:
                result = x.copy() if result is None else self.reduce(result * x, scratch)
            exponent >>= 1
            if not exponent:
                break
            x *= x
            self.reduce(x, scratch)
        return np.ones_like(x) if result is None else result

    def centred(self, integers: Any) -> Floats:
        """Integers of any size, one row a prime, as centred residues."""
        rows = [
            [int(value) % p for value in row] for p, row in zip(self.primes, integers, strict=True)
        ]
        return self.reduce(np.array(rows, np.float64))


def find_primes(order: int, bound: int) -> list[int]:
    """The largest primes p = 1 modulo ``order`` below 2**25 whose product exceeds ``bound``."""
    primes: list[int] = []
    product = 1
    candidate = ((1 << PRIME_BITS) - 2) // order * order + 1
    while product <= bound:
        if is_prime(candidate):
            primes.append(candidate)
            product *= candidate
        candidate -= order
    return primes


def is_prime(number: int) -> bool:
    """Whether an integer in 8 ... 3,215,031,750 is prime.

    Miller and Rabin's test with the bases 2, 3, 5 and 7, which decides up to there (Jaeschke,
    Mathematics of Computation 1993).
    """
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7):
        x = pow(base, odd, number)
        if x == 1:
            continue
        for _ in range(twos):
            if x == number - 1:
                break
            x = x * x % number
        else:
            return False
    return True


def root_of_unity(order: int, prime: int) -> int:
    """A residue of that multiplicative order; ``order`` divides ``prime`` - 1."""
    factors = [f for f in range(2, order + 1) if order % f == 0]
    for base in range(2, prime):
        root = pow(base, (prime - 1) // order, prime)
        if all(pow(root, order // f, prime) != 1 for f in factors):
            return root
    raise AssertionError(f"{order} does not divide {prime} - 1")  # pragma: no cover


def combine(primes: Sequence[int], residues: Sequence[int]) -> int:
    """The integer below the product of the primes that has these residues."""
    value, product = 0, 1
    for p, residue in zip(primes, residues, strict=True):
        value += product * ((residue - value) * pow(product, -1, p) % p)
        product *= p
    return value
