"""Exact sums against rational arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import finite

import nmflow
from nmflow.proof.sums import exact_sum, ratio, rounded

LEAST = 5e-324
LARGEST = float(np.finfo(float).max)


def as_fraction(total):
    return Fraction(total, 2**1074)


@given(st.lists(finite, max_size=50))
def test_floats(values):
    expected = sum(map(Fraction, values), Fraction(0))
    total = exact_sum(np.array(values, float))
    assert as_fraction(total) == expected
    if abs(expected) <= LARGEST:
        assert rounded(total) == float(expected)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_signed_integers(values):
    assert as_fraction(exact_sum(np.array(values, np.int64))) == sum(values)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_unsigned_integers(values):
    assert as_fraction(exact_sum(np.array(values, np.uint64))) == sum(values)


@pytest.mark.parametrize("size", [1, 1000, 1 << 17])
def test_many_floats(size, rng):
    values = rng.standard_normal(size).astype(np.float32).astype(float)
    values[::5] *= 1e300
    values[::7] *= 1e-300
    assert as_fraction(exact_sum(values)) == sum(map(Fraction, values.tolist()))


@pytest.mark.parametrize("size", [1000, 1 << 17])
def test_many_floats_of_one_sign_and_size(size, rng):
    """The most that leading parts can carry."""
    values = 2 - rng.random(size)
    assert as_fraction(exact_sum(values)) == sum(map(Fraction, values.tolist()))


def test_partial_sums_may_overflow():
    """Though the total does not."""
    values = np.array([LARGEST, LARGEST, -LARGEST, -LARGEST, LARGEST, LEAST, 1.0])
    assert rounded(exact_sum(values)) == LARGEST
    assert rounded(exact_sum(values[1:])) == 1.0
    assert as_fraction(exact_sum(values[1:])) == Fraction(1) + Fraction(LEAST)


def test_a_total_beyond_floats():
    with pytest.raises(nmflow.NmflowError, match="exceeds float64"):
        rounded(exact_sum(np.array([LARGEST, LARGEST])))
    assert rounded(exact_sum(np.array([-LARGEST]))) == -LARGEST


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0.0, 0.0, 0.0),
        (1.0, -4.0, 0.25),
        (-1.0, 4.0, -0.25),
        (LEAST, LARGEST, LEAST),
        (-LEAST, LARGEST, -LEAST),
        (LARGEST, LEAST, math.inf),
        (-1.0, 0.0, -math.inf),
    ],
)
def test_a_ratio_is_zero_only_where_its_part_is(part, whole, expected):
    assert ratio(*(exact_sum(np.array([x])) for x in (part, whole))) == expected
