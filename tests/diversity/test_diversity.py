"""Mask diversity counted exactly: brute force, published counts, symmetry."""

import math
import time

import numpy as np
import pytest
from counting import A008300, brute_force, by_rows
from hypothesis import given
from hypothesis import strategies as st
from strategies import kept_of

import nmflow
from nmflow import log10_mask_diversity, mask_diversity
from nmflow.diversity import tile
from nmflow.diversity.quadrature import Quadrature

PATTERNS = ("transposable", "rows", "columns", "unstructured", "sequential")
# OEIS A058528, n = 4, m = 9 ... 14, and A172544 (Hardin), n = 6, m = 9 ... 13.
A058528 = [315031400802720, 1289144584143523800, 7722015017013984456000,
           65599839591251908982712750, 769237071909157579108571190000,
           12163525741347497524178307740904300]  # fmt: skip
A172544 = [12025780892160, 1289144584143523800, 226885231700215713535680,
           64051375889927380035549804336, 28278447454165011203551734584421120]  # fmt: skip
# OEIS A058527, n = m/2.
HALVES = {2: 2, 4: 90, 6: 297200, 8: 116963796250, 10: 6736218287430460752,
          12: 64051375889927380035549804336}  # fmt: skip
# Found by this library and by `counting.by_rows`.
EIGHT_OF_SIXTEEN = 34812290428176298285394893936773707951192224124239796250


def two_regular(m):
    """Matrices with two ones in each row and column, a closed form (OEIS A001499)."""
    f = math.factorial
    total = sum(
        (-2) ** i * f(2 * m - 2 * i) * f(m) ** 2 // (f(i) * f(m - i) ** 2) for i in range(m + 1)
    )
    assert total % 4**m == 0
    return total // 4**m


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2), (3, 3), (2, 5), (3, 4), (4, 3), (4, 4)])
def test_brute_force(pattern, shape):
    """Shapes that m divides, and ragged ones; every n and m up to 4."""
    for m in range(1, 5):
        for n in range(m + 1):
            found = mask_diversity(n, m, pattern, shape=shape)
            assert found == brute_force(n, m, pattern, shape), (n, m)
            assert type(found) is int


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_without_a_shape_it_is_one_tile(m):
    for pattern in PATTERNS:
        for n in range(m + 1):
            assert mask_diversity(n, m, pattern) == brute_force(n, m, pattern, (m, m))


@pytest.mark.parametrize("pattern", ["rows", "columns", "transposable"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4)])
def test_the_masks_that_certify_calls_full(pattern, shape):
    n, m = 1, 2
    found = 0
    for code in range(2 ** math.prod(shape)):
        mask = (code >> np.arange(math.prod(shape)) & 1).reshape(shape).astype(bool)
        certificate = nmflow.certify(np.ones(shape), mask, n, m, pattern=pattern)
        found += certificate.feasible and certificate.full
    assert found == mask_diversity(n, m, pattern, shape=shape)


def test_solve_reaches_every_mask_of_a_partial_tile():
    """Scores that are not negative where a mask keeps, and negative elsewhere."""
    for pattern in ("rows", "columns", "transposable"):
        masks = set()
        for code in range(2**6):
            scores = np.where(code >> np.arange(6) & 1, 1.0, -1.0).reshape(2, 3)
            mask = nmflow.solve(scores, 1, 4, pattern=pattern, score="raw")
            masks.add(mask.tobytes())
        assert len(masks) == mask_diversity(1, 4, pattern, shape=(2, 3))


@pytest.mark.parametrize("m", range(1, 10))
def test_published_triangle(m):
    assert [mask_diversity(n, m) for n in range(m + 1)] == A008300[m]


def test_published_columns_of_the_triangle():
    assert [mask_diversity(4, m) for m in range(9, 15)] == A058528
    assert [mask_diversity(6, m) for m in range(9, 14)] == A172544
    assert {m: mask_diversity(m // 2, m) for m in HALVES} == HALVES


@pytest.mark.parametrize("m", [2, 3, 4, 9, 16, 25, 40])
def test_two_of_m_has_a_closed_form(m):
    assert mask_diversity(2, m) == mask_diversity(m - 2, m) == two_regular(m)


def test_eight_of_sixteen():
    assert mask_diversity(8, 16) == EIGHT_OF_SIXTEEN


@pytest.mark.slow
def test_eight_of_sixteen_row_by_row():
    assert by_rows(16, 8) == EIGHT_OF_SIXTEEN


@pytest.mark.parametrize(("n", "m"), [(5, 11), (3, 12), (5, 12), (5, 13)])
def test_row_by_row(n, m):
    """Both an L of more than one class and one that needs other nodes than n + 1."""
    assert mask_diversity(n, m) == by_rows(m, n)


def test_larger_tiles_in_known_ratios():
    """Whole batches of primes, and several batches; the neighbours of log-concave sequences."""
    logs = [log10_mask_diversity(n, 18) for n in range(19)]
    assert logs == logs[::-1]
    assert all(2 * b > a + c for a, b, c in zip(logs, logs[1:], logs[2:], strict=False))


@given(kept_of(14))
def test_ones_and_zeros_change_places(pair):
    n, m = pair
    for pattern in ("transposable", "rows", "columns", "unstructured"):
        assert mask_diversity(n, m, pattern) == mask_diversity(m - n, m, pattern)


@given(kept_of(6), st.integers(0, 3), st.integers(0, 3), st.integers(0, 5), st.integers(0, 5))
def test_a_shape_is_the_product_of_its_tiles(pair, down, across, more_rows, more_columns):
    n, m = pair
    bottom, right = more_rows % m, more_columns % m
    shape = (down * m + bottom, across * m + right)
    product = (
        mask_diversity(n, m) ** (down * across)
        * mask_diversity(n, m, shape=(m, right)) ** down
        * mask_diversity(n, m, shape=(bottom, m)) ** across
        * mask_diversity(n, m, shape=(bottom, right))
    )
    assert mask_diversity(n, m, shape=shape) == product


@given(
    kept_of(6),
    st.sampled_from(PATTERNS),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_leading_axes_are_batch_and_axes_change_places(pair, pattern, batch, rows, columns):
    one = mask_diversity(*pair, pattern, shape=(rows, columns))
    many = mask_diversity(*pair, pattern, shape=[*batch, rows, columns])
    assert many == one ** math.prod(batch)
    if pattern != "sequential":
        turned = {"rows": "columns", "columns": "rows"}.get(pattern, pattern)
        assert mask_diversity(*pair, turned, shape=(columns, rows)) == one


@given(kept_of(7), st.integers(1, 9), st.integers(1, 9))
def test_stricter_patterns_allow_less(pair, rows, columns):
    n, m = pair
    shape = (rows * m, columns * m)
    unstructured, one_way, both = (
        mask_diversity(n, m, p, shape=shape) for p in ("unstructured", "rows", "transposable")
    )
    assert unstructured >= one_way >= both >= 1
    assert one_way >= mask_diversity(n, m, "sequential", shape=shape)


def test_exact_reaches_as_far_as_said():
    within = [(n, m) for m in range(4, 26) for n in range(2, m // 2 + 1)]
    within += [(n, m) for m in range(26, 33) for n in range(2, 10)]
    for n, m in within:
        assert Quadrature.exactly(m, n).terms <= tile.TERMS_LIMIT, (n, m)
    for n, m in [(13, 26), (16, 32), (10, 32)]:
        assert Quadrature.exactly(m, n).terms > tile.TERMS_LIMIT


def test_small_tiles_are_quick():
    tile.count_full.cache_clear()
    started = time.process_time()
    for m in range(1, 13):
        for n in range(m + 1):
            mask_diversity(n, m)
    mask_diversity(8, 16)
    # 0.2 s on the reference machine.
    assert time.process_time() - started < 2
