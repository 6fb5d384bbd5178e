"""Exact sums against rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmflow.sums import exact_terms, rounded_sum

floats = st.floats(-1e300, 1e300, allow_nan=False)


@given(st.lists(floats, max_size=50))
def test_floats(values):
    terms = exact_terms(np.array(values, float))
    assert sum(map(Fraction, terms)) == sum(map(Fraction, values))
    assert rounded_sum(terms) == float(sum(map(Fraction, values)))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_signed_integers(values):
    assert sum(map(Fraction, exact_terms(np.array(values, np.int64)))) == sum(values)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_unsigned_integers(values):
    assert sum(map(Fraction, exact_terms(np.array(values, np.uint64)))) == sum(values)


@pytest.mark.parametrize("size", [1, 1000, 1 << 17])
def test_many_floats_make_few_terms(size, rng):
    values = rng.standard_normal(size).astype(np.float32).astype(float)
    terms = exact_terms(values)
    assert len(terms) < 8
    assert sum(map(Fraction, terms)) == sum(map(Fraction, values.tolist()))


def test_the_largest_floats():
    values = np.array([1.5e308, -1.5e308, 5e-324, 1.0])
    assert sum(map(Fraction, exact_terms(values))) == Fraction(1.0) + Fraction(5e-324)
