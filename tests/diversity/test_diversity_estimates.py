"""Logarithms of counts, and what the estimates are worth."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import kept_of

from nmflow import log10_mask_diversity, mask_diversity
from nmflow.diversity import estimates

PATTERNS = ("transposable", "rows", "columns", "unstructured", "sequential")


@given(
    kept_of(7),
    st.sampled_from(PATTERNS),
    st.lists(st.integers(0, 2), max_size=1),
    st.integers(0, 15),
    st.integers(0, 15),
)
def test_log10_of_the_count(pair, pattern, batch, rows, columns):
    shape = (*batch, rows, columns)
    number = mask_diversity(*pair, pattern, shape=shape)
    assert log10_mask_diversity(*pair, pattern, shape=shape) == pytest.approx(
        math.log10(number), rel=1e-14, abs=1e-14
    )


@given(st.integers(0, 40_000), st.floats(0, 1))
def test_binomials_two_ways(size, share):
    kept = round(share * size)
    exact = math.comb(size, kept)
    assert estimates.binomial(size, kept) == exact
    assert estimates.log10_binomial(size, kept) == pytest.approx(
        math.log10(exact), rel=3e-15, abs=0
    )


@pytest.mark.parametrize("kept", [63, 64, 65, 1000])
def test_binomials_at_the_change_of_formula(kept):
    for size in (2 * kept, 10**6, 10**12):
        exact = math.comb(size, kept)
        for k in (kept, size - kept):
            found = estimates.log10_binomial(size, k)
            assert found == pytest.approx(math.log10(exact), rel=3e-15, abs=0), (size, k)


def test_log10_of_a_hundred_billion_weights():
    shape = (100, 2**15, 2**15)
    tiles = 100 * 2**24
    found = log10_mask_diversity(4, 8, shape=shape)
    assert found == pytest.approx(tiles * math.log10(116963796250), rel=1e-15)
    # The entropy of a fair coin, less half a logarithm for each matrix.
    loose = log10_mask_diversity(1, 2, "unstructured", shape=shape)
    entropy = 100 * (2**30 * math.log10(2) - 0.5 * math.log10(math.pi * 2**29))
    assert loose == pytest.approx(entropy, rel=1e-13)


def test_long_numbers_are_whole():
    number = mask_diversity(4, 8, shape=(1024, 1024))
    assert number == 116963796250 ** (128 * 128)
    assert len(format(number, "x")) > sys.get_int_max_str_digits()


@pytest.mark.parametrize(
    ("n", "m", "low", "high"),
    [
        (2, 4, 8e-3, 9e-3),
        (2, 8, 8e-3, 9e-3),
        (1, 8, 0.02, 0.022),
        (4, 8, 3.7e-3, 3.9e-3),
        (4, 16, 1.9e-3, 2.1e-3),
        (8, 16, 9.5e-4, 9.9e-4),
        (9, 18, 7.5e-4, 7.9e-4),
        (4, 32, 1.1e-3, 1.2e-3),
    ],
)
def test_asymptotic_is_as_near_as_said(n, m, low, high):
    for kept in (n, m - n):
        estimate = mask_diversity(kept, m, method="asymptotic")
        assert type(estimate) is float
        exact = log10_mask_diversity(kept, m)
        error = 10 ** (log10_mask_diversity(kept, m, method="asymptotic") - exact) - 1
        assert low < error < high
        assert estimate == pytest.approx((1 + error) * 10**exact, rel=1e-12)


def test_asymptotic_counts_exactly_what_has_a_closed_form():
    for pattern in ("rows", "columns", "unstructured", "sequential"):
        exact = mask_diversity(3, 5, pattern, shape=(7, 6))
        estimate = mask_diversity(3, 5, pattern, shape=(7, 6), method="asymptotic")
        assert estimate == pytest.approx(exact, rel=1e-13)
    for n in (0, 5):
        assert mask_diversity(n, 5, method="asymptotic") == 1
    ragged = log10_mask_diversity(2, 4, shape=(5, 4), method="asymptotic")
    edge = math.log10(mask_diversity(2, 4, shape=(1, 4)))
    assert ragged == pytest.approx(log10_mask_diversity(2, 4, method="asymptotic") + edge)


@pytest.mark.parametrize(
    ("n", "m", "number"),
    [
        (2, 4, 144),
        (4, 8, 40320 * 5040 * 720 * 120),
        (1, 7, 5040),
        (0, 3, 1),
        (3, 3, 12),
        (2, 10, 3628800 * 362880),
    ],
)
def test_paper_formula(n, m, number):
    found = mask_diversity(n, m, method="paper")
    assert found == number
    assert type(found) is int
    assert mask_diversity(n, m, shape=(3, 2 * m, m), method="paper") == number**6


def test_paper_formula_beside_the_counts():
    def ratio(n, m):
        return mask_diversity(n, m, method="paper") / mask_diversity(n, m)

    assert all(ratio(1, m) == 1 for m in range(1, 20))
    assert ratio(2, 4) == 1.6
    assert ratio(4, 8) == pytest.approx(150.1, abs=0.05)
    assert ratio(8, 16) == pytest.approx(1.07e19, rel=5e-3)
    assert ratio(2, 16) == pytest.approx(0.748, abs=5e-4)
    assert ratio(2, 9) > 1 > ratio(2, 10)


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_paper_formula_of_the_other_patterns_is_the_count(pattern):
    assert mask_diversity(2, 4, pattern, shape=(8, 8), method="paper") == mask_diversity(
        2, 4, pattern, shape=(8, 8)
    )


def test_the_papers_piece():
    """4:8 transposable against 2:4 one-way on 8 x 8."""
    assert mask_diversity(2, 4, "rows", shape=(8, 8)) == 6**16 == 2821109907456
    assert mask_diversity(4, 8, shape=(8, 8)) == 116963796250
    assert mask_diversity(4, 8, "sequential", shape=(8, 8)) == 5**8
