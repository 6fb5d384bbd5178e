"""Wide integers against Python's."""

import math
from fractions import Fraction

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import finite

from nmflow.proof.exact import limbs as wide

LIMBS = 5
LEAST = 0
numbers = st.one_of(
    st.integers(-(1 << 290), 1 << 290),
    st.integers(-4, 4),
    st.tuples(st.integers(0, 280), st.sampled_from([-1, 0, 1])).map(lambda t: (1 << t[0]) + t[1]),
)


@numba.njit
def calculate(x, limbs, value, unit):
    """Of the first two numbers the sum, the difference, a copy; then what is added to the first."""
    wide.add(x, limbs, 2 * limbs, 0, limbs)
    wide.subtract(x, limbs, 3 * limbs, 0, limbs)
    wide.copy(x, limbs, 4 * limbs, 0)
    wide.add_float(x, limbs, 4 * limbs, value, unit)
    return wide.is_less(x, limbs, 0, limbs), wide.sign(x, limbs, 0)


def digits_of(number, limbs=LIMBS):
    low = [(number >> (60 * k)) & ((1 << 60) - 1) for k in range(limbs - 1)]
    return [*low, number >> (60 * (limbs - 1))]


def number_of(digits):
    return sum(int(digit) << (60 * k) for k, digit in enumerate(digits))


@given(numbers, numbers, st.floats(-(2.0**200), 2.0**200), st.integers(-60, 10))
def test_they_calculate_as_python_does(left, right, value, unit):
    x = np.array([*digits_of(left), *digits_of(right), *[0] * (3 * LIMBS)], np.int64)
    less, sign = calculate(x, LIMBS, value, unit)
    results = [number_of(x[k * LIMBS : (k + 1) * LIMBS]) for k in range(2, 5)]
    scaled = Fraction(value) / Fraction(2) ** unit
    # A fraction of less than 2**-60 of a unit may be lost on the way to the floor.
    assert results[:2] == [left + right, left - right]
    assert results[2] - left in (math.floor(scaled), math.floor(scaled + Fraction(1, 2**59)))
    assert less == (left < right)
    assert sign == (left > 0) - (left < 0)


@given(finite)
def test_every_float_has_its_digits(value):
    limbs = wide.MOST_LIMBS
    x = np.zeros(5 * limbs, np.int64)
    calculate(x, limbs, value, -1074)
    assert number_of(x[4 * limbs :]) == Fraction(value) * 2**1074
