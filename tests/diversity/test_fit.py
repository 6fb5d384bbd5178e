"""Sparse weights that are n:m as they are: enumerated, simulated, and at their limits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from counting import all_matrices
from hypothesis import given
from hypothesis import strategies as st
from strategies import kept_of

import nmflow
from nmflow import group_fit_probability, suggest_n
from nmflow.diversity import graded, probability, states, tile
from nmflow.diversity.graded import GradedQuadrature

shares = st.one_of(
    st.floats(0, 1), st.fractions(0, 1, max_denominator=10**6), st.sampled_from([0, 1])
)
patterns = st.sampled_from(["rows", "columns", "transposable"])


def held(masks, m, pattern):
    """The most that any group of each m x m matrix holds."""
    rows, columns = masks.sum(2).max(1), masks.sum(1).max(1)
    return {"rows": rows, "columns": columns, "transposable": np.maximum(rows, columns)}[pattern]


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_tiles_by_enumeration(m):
    """All 2^(m m) matrices, one by one."""
    masks = all_matrices(m, m)
    ones, most = masks.sum((1, 2)), held(masks, m, "transposable")
    share = Fraction(3, 7)
    weights = {k: share**k * (1 - share) ** (m * m - k) for k in range(m * m + 1)}
    for n in range(m + 1):
        counts = np.bincount(ones[most <= n], minlength=m * n + 1)
        assert tile.count_by_ones(m, n) == tuple(counts)
        expected = sum(int(count) * weights[k] for k, count in enumerate(counts))
        assert group_fit_probability(n, m, density=share, result="fraction") == expected


@pytest.mark.parametrize("m", [1, 2, 4, 7])
def test_groups_by_enumeration(m):
    groups = all_matrices(1, m).sum((1, 2))
    share = Fraction(2, 9)
    for n in range(m + 1):
        expected = sum(share ** int(k) * (1 - share) ** (m - int(k)) for k in groups if k <= n)
        for pattern in ("rows", "columns"):
            found = group_fit_probability(n, m, density=share, pattern=pattern, result="fraction")
            assert found == expected


@pytest.mark.parametrize(
    ("n", "m", "sparsity", "pattern"),
    [
        (2, 4, 0.5, "rows"), (2, 4, 0.7, "columns"), (4, 8, 0.6, "rows"), (5, 16, 0.75, "rows"),
        (2, 4, 0.5, "transposable"), (2, 4, 0.8, "transposable"), (4, 8, 0.75, "transposable"),
        (3, 8, 0.9, "transposable"), (6, 8, 0.4, "transposable"), (6, 16, 0.8, "transposable"),
    ],
)  # fmt: skip
def test_simulation(n, m, sparsity, pattern, rng):
    tiles = 4000
    masks = rng.random((tiles, m, m)) >= sparsity
    if pattern == "transposable":
        fits = held(masks, m, pattern) <= n
    else:
        fits = masks.sum(2 if pattern == "rows" else 1).ravel() <= n
    expected = group_fit_probability(n, m, sparsity=sparsity, pattern=pattern)
    error = math.sqrt(expected * (1 - expected) / fits.size)
    assert 0.02 < expected < 0.99
    assert abs(fits.mean() - expected) < 4 * error


@given(st.integers(2, 7), st.data())
def test_two_roads_to_the_counts(m, data):
    """Quadrature and states share no code, and agree with the counts that ask for no ones."""
    n = data.draw(st.integers(1, m - 1))
    counts = states.count_by_ones(m, m, n)
    assert GradedQuadrature(m, n).count() == counts
    assert len(counts) == m * n + 1
    assert sum(counts) == tile.count_partial(m, m, n)
    # Full ones last, and up to n ones are never too many.
    assert counts[-1] == nmflow.mask_diversity(n, m)
    assert counts[: n + 1] == [math.comb(m * m, k) for k in range(n + 1)]


@pytest.mark.parametrize(("n", "m"), [(2, 33), (5, 10), (4, 16), (14, 16)])
def test_larger_tiles(n, m):
    """More products than may be summed at once, symmetric classes, and tiles of few zeros."""
    counts = tile.count_by_ones(m, n)
    assert counts[-1] == nmflow.mask_diversity(n, m)
    assert sum(counts) == tile.count_partial(m, m, n)
    # One line alone may be too full where n + 1 ones are placed.
    assert counts[n + 1] == math.comb(m * m, n + 1) - 2 * m * math.comb(m, n + 1)


@pytest.mark.parametrize(("entries", "block"), [(1, 1), (1, 1 << 19), (1 << 21, 2000)])
def test_batches_and_blocks_change_nothing(entries, block, monkeypatch):
    monkeypatch.setattr(graded, "TABLE_ENTRIES", entries)
    monkeypatch.setattr(graded, "BLOCK_ENTRIES", block)
    assert GradedQuadrature(6, 3).count() == states.count_by_ones(6, 6, 3)


def test_rows_and_columns_that_are_no_square():
    for rows, columns, n in [(3, 4, 2), (4, 3, 1), (5, 3, 2)]:
        masks = all_matrices(rows, columns)
        fine = (masks.sum(1) <= n).all(1) & (masks.sum(2) <= n).all(1)
        counts = np.bincount(masks.sum((1, 2))[fine], minlength=n * min(rows, columns) + 1)
        assert states.count_by_ones(rows, columns, n) == list(counts)
        assert states.count_by_ones(columns, rows, n) == list(counts)


@given(kept_of(8), patterns)
def test_nothing_kept_and_everything_kept(pair, pattern):
    n, m = pair
    assert group_fit_probability(n, m, sparsity=1, pattern=pattern) == 1
    assert group_fit_probability(n, m, density=1.0, pattern=pattern) == (n == m)
    assert group_fit_probability(m, m, sparsity=0.3, pattern=pattern) == 1


@given(kept_of(8), shares, shares, patterns)
def test_monotone(pair, one, other, pattern):
    """In n, in the sparsity, and from one group over all rows to all columns too."""
    n, m = pair

    def fits(n, share, pattern=pattern):
        share = Fraction(share)
        return group_fit_probability(n, m, sparsity=share, pattern=pattern, result="fraction")

    less, more = sorted([one, other])
    assert fits(n, less) <= fits(n, more)
    assert n == m or fits(n, one) <= fits(n + 1, one)
    assert fits(n, one, "rows") == fits(n, one, "columns")
    group, both = fits(n, one, "rows"), fits(n, one, "transposable")
    assert group ** (2 * m) <= both <= group**m


@given(kept_of(8), st.floats(0, 1, width=16), patterns)
def test_sparsity_and_density_are_two_words_for_one_thing(pair, share, pattern):
    n, m = pair
    by_sparsity = group_fit_probability(n, m, sparsity=share, pattern=pattern, result="fraction")
    rest = 1 - Fraction(share)
    assert by_sparsity == group_fit_probability(
        n, m, density=rest, pattern=pattern, result="fraction"
    )


@given(kept_of(8), st.floats(0, 1), patterns)
def test_floats_and_logarithms_are_of_the_exact_number(pair, share, pattern):
    n, m = pair
    asked = {"sparsity": share, "pattern": pattern}
    exact = group_fit_probability(n, m, **asked, result="fraction")
    log10 = group_fit_probability(n, m, **asked, result="log10")
    if 0 < exact < Fraction(np.finfo(float).tiny):
        with pytest.raises(nmflow.NmflowError, match="too small for a float"):
            group_fit_probability(n, m, **asked)
    else:
        assert group_fit_probability(n, m, **asked) == float(exact)
    if exact == 0:
        assert log10 == -math.inf
    elif exact > Fraction(1, 2):
        assert log10 == pytest.approx(math.log1p(float(exact - 1)) / math.log(10), rel=1e-13, abs=0)
    else:
        digits = math.log10(exact.numerator) - math.log10(exact.denominator)
        assert log10 == pytest.approx(digits, rel=1e-12, abs=1e-12)


def test_tiny_probabilities_are_not_lost():
    rare = group_fit_probability(1, 8, density=1 - 2.0**-40, result="log10")
    # Of the 64 entries 56 have to go, in all ways that leave a permutation: 8!.
    assert rare == pytest.approx(math.log10(math.factorial(8)) - 56 * 40 * math.log10(2), rel=1e-9)
    with pytest.raises(nmflow.NmflowError, match=r"10\^-669\.\d+, is too small.*result='log10'"):
        group_fit_probability(1, 8, density=1 - 2.0**-40)
    lacks = 1 - group_fit_probability(2, 4, density=Fraction(1, 10**9), result="fraction")
    assert float(lacks) == pytest.approx(32e-27, rel=1e-8, abs=0)
    almost = group_fit_probability(2, 4, density=Fraction(1, 10**9), result="log10")
    assert almost == pytest.approx(-32e-27 / math.log(10), rel=1e-8, abs=0)


@given(st.integers(1, 6), shares, shares, patterns)
def test_suggested_is_the_smallest(m, sparsity, confidence, pattern):
    n = suggest_n(m, sparsity, confidence, pattern=pattern)
    assert 1 <= n <= m

    def enough(n):
        exact = group_fit_probability(n, m, sparsity=sparsity, pattern=pattern, result="fraction")
        return exact >= Fraction(confidence)

    assert enough(n)
    assert n == 1 or not enough(n - 1)


def test_suggestions_count_only_where_bounds_do_not_decide(monkeypatch):
    monkeypatch.setattr(probability, "count_by_ones", None)
    assert suggest_n(64, 0.95) == 10
    with pytest.raises(TypeError):
        suggest_n(8, 0.9)


def test_suggestions_for_certainty_and_for_none():
    assert suggest_n(8, 0.5, 1) == 8
    assert suggest_n(8, 1, 1) == 1
    assert suggest_n(8, 0, 0) == 1


def test_exact_reaches_as_far_as_said():
    def reached(m, n):
        terms = min(GradedQuadrature(m, n).terms, tile.graded_states_terms(m, n))
        return terms <= tile.GRADED_TERMS_LIMIT

    within = [(m, n) for m in range(2, 15) for n in range(1, m)]
    within += [(16, n) for n in (*range(1, 11), 13, 14, 15)] + [(32, n) for n in range(1, 6)]
    assert all(reached(m, n) for m, n in within)
    assert not any(reached(m, n) for m, n in [(16, 11), (16, 12), (32, 6), (32, 16)])


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((5, 4), {"sparsity": 0.5}, ["5:4", "0 <= n <= m", "not the zeros"]),
        ((0, 0), {"sparsity": 0.5}, ["0:0", "m >= 1"]),
        ((2.0, 4), {"sparsity": 0.5}, ["n must be an integer", "2.0"]),
        ((2, 4), {}, ["one of sparsity", "density=0.1"]),
        ((2, 4), {"sparsity": 0.5, "density": 0.5}, ["one of sparsity"]),
        ((2, 4), {"sparsity": 90}, ["from 0 to 1", "got 90", "for 90 % give 0.9"]),
        ((2, 4), {"sparsity": -1e-9}, ["from 0 to 1", "-1e-09"]),
        ((2, 4), {"density": 1.0000001}, ["density is a share", "1.0000001"]),
        ((2, 4), {"sparsity": math.nan}, ["sparsity must be a number from 0 to 1", "nan"]),
        ((2, 4), {"density": math.inf}, ["density must be a number from 0 to 1", "inf"]),
        ((2, 4), {"sparsity": np.float32("nan")}, ["sparsity must be a number", "nan"]),
        ((2, 4), {"sparsity": "0.5"}, ["must be a number, such as 0.9", "str"]),
        ((2, 4), {"sparsity": True}, ["must be a number", "bool"]),
        ((2, 4), {"sparsity": 0.5, "pattern": "row"}, ["'row'", "did you mean 'rows'"]),
        ((2, 4), {"sparsity": 0.5, "pattern": "unstructured"}, ["'unstructured'", "'columns'"]),
        ((2, 4), {"sparsity": 0.5, "result": "log"}, ["'log'", "did you mean 'log10'"]),
        ((16, 32), {"sparsity": 0.5}, ["32 x 32", "2.9e+15", "10^-15.63", "10^-7.813"]),
        ((4, 10**6), {"sparsity": 0.5, "pattern": "rows"}, ["too small", "result='log10'"]),
        ((10**5, 10**6), {"sparsity": 0.5, "pattern": "rows"}, ["too long", "Fraction(9, 10)"]),
    ],
)
def test_wrong_input(arguments, options, words):
    with pytest.raises(nmflow.NmflowError) as raised:
        group_fit_probability(*arguments, **options)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((0, 0.5), {}, ["m must be 1 or more", "0"]),
        ((8, 90), {}, ["sparsity is a share", "0.9"]),
        ((8, None), {}, ["sparsity must be a number", "None"]),
        ((8, 0.5, 95), {}, ["confidence is a share", "for 95 % give 0.95"]),
        ((8, 0.5, math.nan), {}, ["confidence must be a number from 0 to 1"]),
        ((8, 0.5), {"pattern": "sequential"}, ["'sequential'", "'rows'"]),
        ((32, 0.9), {}, ["from 9 to 10", "10 is enough", "32 x 32", "6.9e+11"]),
        ((400, 0.9), {}, ["too long", "smaller m"]),
    ],
)
def test_wrong_input_to_suggestions(arguments, options, words):
    with pytest.raises(nmflow.NmflowError) as raised:
        suggest_n(*arguments, **options)
    for word in words:
        assert word in str(raised.value)


def test_what_the_documents_say():
    """README and docstrings: 0.993 at 4:8 for nine zeros in ten, and the n that go with them."""
    assert round(group_fit_probability(4, 8, sparsity=0.9), 4) == 0.9932
    assert round(group_fit_probability(2, 4, sparsity=0.5, pattern="rows"), 4) == 0.6875
    assert suggest_n(8, 0.9) == 4
    assert suggest_n(8, 0.9, pattern="rows") == 2
    assert suggest_n(16, 0.75, confidence=0.99) == 10


def test_shares_of_any_kind():
    for half in (0.5, np.float16(0.5), np.float64(0.5), Fraction(1, 2)):
        assert group_fit_probability(1, 2, sparsity=half) == 7 / 16
    assert group_fit_probability(1, 2, sparsity=np.int64(1)) == 1
