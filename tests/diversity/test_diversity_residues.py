"""Arithmetic modulo primes, exact at its largest numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmflow.diversity.quadrature import BLOCK_ENTRIES, NodeSum, Quadrature
from nmflow.diversity.residues import Residues, combine, find_primes, is_prime, root_of_unity


@given(st.integers(8, 3 * 10**6))
def test_primes(number):
    assert is_prime(number) == all(number % d for d in range(2, math.isqrt(number) + 1))


@pytest.mark.parametrize("number", [2047, 1373653, 25326001, 3215031749, 33554393, 33554431])
def test_primes_where_fewer_bases_err(number):
    assert is_prime(number) == all(number % d for d in range(2, math.isqrt(number) + 1))


@pytest.mark.parametrize("order", [1, 2, 3, 9, 12, 17, 30])
def test_roots_of_unity(order):
    primes = find_primes(order, 10**40)
    assert math.prod(primes) > 10**40 >= math.prod(primes[:-1])
    assert len(set(primes)) == len(primes)
    for p in primes:
        assert p < 2**25
        root = root_of_unity(order, p)
        powers = [pow(root, k, p) for k in range(1, order + 1)]
        assert powers.index(1) == order - 1


def test_residues_are_exact_at_their_largest():
    """The largest centred residues, in the longest sums that are used."""
    primes = find_primes(1, 2**70)
    residues = Residues(primes)
    half = [(p - 1) // 2 for p in primes]
    rows = residues.centred([[h + 1] * 31 for h in half])
    assert rows.tolist() == [[-h] * 31 for h in half]
    products = residues.reduce(rows[:, None, :] @ rows[:, :, None])
    expected = residues.centred([[31 * h * h] for h in half])
    assert products[:, :, 0].tolist() == expected.tolist()
    for exponent in (0, 1, 2, 13, 16):
        powers = residues.power(rows.copy(), exponent)
        assert [int(x) % p for x, p in zip(powers[:, 0], primes, strict=True)] == [
            pow(-h, exponent, p) for h, p in zip(half, primes, strict=True)
        ]


def test_blocks_are_exact_at_their_largest():
    """Residues and weights at their largest, in a row as long as a block can be."""
    primes = find_primes(1, 2**24)
    quadrature = Quadrature(1, 1, 0, False, 1, (0,))
    half, side = (primes[0] - 1) // 2, math.isqrt(BLOCK_ENTRIES)
    values = np.full((1, 1, 1), float(half)), np.ones((1, 1, side))
    weights = np.ones((1, 1)), np.full((1, side), float(half))
    found = NodeSum(quadrature, Residues(primes), quadrature.n)._block(*values, *weights)
    assert int(found[0]) % primes[0] == half * half * side % primes[0]


@given(st.integers(0, 10**30))
def test_chinese_remainders(number):
    primes = find_primes(6, 10**30)
    assert combine(primes, [number % p for p in primes]) == number
