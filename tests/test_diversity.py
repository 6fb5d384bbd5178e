"""Mask diversity: brute force, published counts, symmetry, and what the estimates are worth."""

import math
import sys
import time

import numpy as np
import pytest
from counting import brute_force, by_rows
from hypothesis import given
from hypothesis import strategies as st

import nmflow
from nmflow import log10_mask_diversity, mask_diversity
from nmflow.diversity import count, estimates, states, tile
from nmflow.diversity.quadrature import BLOCK_ENTRIES, Quadrature, _Sum
from nmflow.diversity.residues import Residues, combine, find_primes, is_prime, root_of_unity

PATTERNS = ("transposable", "rows", "columns", "unstructured", "sequential")

# OEIS A008300 (Brendan McKay): m x m with n ones in each row and column, n = 0, 1, ...
A008300 = [
    [1],
    [1, 1],
    [1, 2, 1],
    [1, 6, 6, 1],
    [1, 24, 90, 24, 1],
    [1, 120, 2040, 2040, 120, 1],
    [1, 720, 67950, 297200, 67950, 720, 1],
    [1, 5040, 3110940, 68938800, 68938800, 3110940, 5040, 1],
    [1, 40320, 187530840, 24046189440, 116963796250, 24046189440, 187530840, 40320, 1],
    [1, 362880, 14398171200, 12025780892160, 315031400802720, 315031400802720, 12025780892160,
     14398171200, 362880, 1],
]  # fmt: skip
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


def nm(largest):
    return st.integers(1, largest).flatmap(
        lambda m: st.tuples(st.integers(0, m), st.just(m)),
    )


def two_regular(m):
    """Matrices with two ones in each row and column, a closed form (OEIS A001499)."""
    f = math.factorial
    total = sum(
        (-2) ** i * f(2 * m - 2 * i) * f(m) ** 2 // (f(i) * f(m - i) ** 2) for i in range(m + 1)
    )
    assert total % 4**m == 0
    return total // 4**m


# Exact: against brute force


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


# Exact: against published counts


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


# Exact: rules that hold for all


@given(nm(14))
def test_ones_and_zeros_change_places(pair):
    n, m = pair
    for pattern in ("transposable", "rows", "columns", "unstructured"):
        assert mask_diversity(n, m, pattern) == mask_diversity(m - n, m, pattern)


def test_the_quadrature_itself_knows_no_symmetry():
    for n, m in [(1, 2), (3, 4), (5, 8), (6, 8), (7, 8), (7, 11)]:
        assert Quadrature.exactly(m, n).count() == mask_diversity(m - n, m)


@given(nm(6), st.integers(0, 3), st.integers(0, 3), st.integers(0, 5), st.integers(0, 5))
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
    nm(6),
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


@given(nm(7), st.integers(1, 9), st.integers(1, 9))
def test_stricter_patterns_allow_less(pair, rows, columns):
    n, m = pair
    shape = (rows * m, columns * m)
    unstructured, one_way, both = (
        mask_diversity(n, m, p, shape=shape) for p in ("unstructured", "rows", "transposable")
    )
    assert unstructured >= one_way >= both >= 1
    assert one_way >= mask_diversity(n, m, "sequential", shape=shape)


@given(st.integers(2, 9), st.integers(2, 9), st.data())
def test_partial_tiles_two_ways(rows, columns, data):
    """Quadrature and states share no code."""
    n = data.draw(st.integers(1, min(rows, columns) - 1))
    expected = states.count_at_most(rows, columns, n)
    assert Quadrature.at_most(rows, columns, n).count() == expected
    assert Quadrature.at_most(columns, rows, n).count() == expected
    assert tile.count_partial(rows, columns, n) == expected


@given(st.integers(0, 8), st.integers(0, 8))
def test_partial_tiles_between_their_ends(rows, columns):
    counts = [tile.count_partial(rows, columns, n) for n in range(9)]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[-1] == 2 ** (rows * columns)
    # n = 1: rooks that do not attack each other.
    rooks = sum(
        math.comb(rows, k) * math.comb(columns, k) * math.factorial(k)
        for k in range(min(rows, columns) + 1)
    )
    assert counts[1] == rooks


def test_large_partial_tiles():
    """Sizes at which the choice falls on the quadrature, and on the states."""
    chosen = [(15, 15, 8), (15, 13, 7), (14, 15, 13), (15, 15, 2), (30, 18, 16)]
    for rows, columns, n in chosen:
        assert tile.count_partial(rows, columns, n) == tile.count_partial(columns, rows, n)
    assert tile.count_partial(11, 10, 6) == states.count_at_most(11, 10, 6)


def test_steps_between_states_are_no_more_than_said(monkeypatch):
    taken = 0
    moves = states._moves

    def counted(*arguments):
        nonlocal taken
        for move in moves(*arguments):
            taken += 1
            yield move

    monkeypatch.setattr(states, "_moves", counted)
    for rows, columns, n in [(5, 6, 2), (7, 7, 5), (6, 9, 3), (9, 9, 1), (12, 3, 2)]:
        taken = 0
        states.count_at_most(rows, columns, n)
        assert 0 < taken <= states.work(rows, columns, n)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 8), (4, 8), (4, 9), (5, 10), (5, 12), (8, 16)])
def test_terms_are_those_of_the_sum(n, m, monkeypatch):
    """The limit is set in them."""
    from nmflow.diversity import quadrature

    visited = 0
    block = quadrature._Sum._block

    def counted(self, a, b, *weights):
        nonlocal visited
        visited += a.shape[0] * a.shape[1] * b.shape[2]
        return block(self, a, b, *weights)

    monkeypatch.setattr(quadrature._Sum, "_block", counted)
    chosen = Quadrature.exactly(m, n)
    assert chosen.count() == mask_diversity(n, m)
    primes = len(find_primes(chosen.order, chosen.bound))
    said = chosen.bound.bit_length() // 24 + 1
    assert primes <= said <= primes + 1
    assert visited == chosen.terms // said * primes


def test_exact_reaches_as_far_as_said():
    within = [(n, m) for m in range(4, 26) for n in range(2, m // 2 + 1)]
    within += [(n, m) for m in range(26, 33) for n in range(2, 10)]
    for n, m in within:
        assert Quadrature.exactly(m, n).terms <= tile.TERMS_LIMIT, (n, m)
    for n, m in [(13, 26), (16, 32), (10, 32)]:
        assert Quadrature.exactly(m, n).terms > tile.TERMS_LIMIT


@pytest.mark.parametrize(("entries", "block"), [(1, 1), (1, 1 << 17), (1 << 21, 50)])
def test_batches_and_blocks_change_nothing(entries, block, monkeypatch):
    from nmflow.diversity import quadrature

    monkeypatch.setattr(quadrature, "TABLE_ENTRIES", entries)
    monkeypatch.setattr(quadrature, "BLOCK_ENTRIES", block)
    assert Quadrature.exactly(8, 4).count() == A008300[8][4]
    assert Quadrature.at_most(5, 4, 2).count() == states.count_at_most(5, 4, 2)


def test_small_tiles_are_quick():
    tile.count_full.cache_clear()
    started = time.perf_counter()
    for m in range(1, 13):
        for n in range(m + 1):
            mask_diversity(n, m)
    mask_diversity(8, 16)
    # 0.2 s on the reference machine.
    assert time.perf_counter() - started < 2


# Residues


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
    found = _Sum(quadrature, Residues(primes))._block(*values, *weights)
    assert int(found[0]) % primes[0] == half * half * side % primes[0]


@given(st.integers(0, 10**30))
def test_chinese_remainders(number):
    primes = find_primes(6, 10**30)
    assert combine(primes, [number % p for p in primes]) == number


# Logarithms


@given(
    nm(7),
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


# Estimates


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


# Bad input


@pytest.mark.parametrize("function", [mask_diversity, log10_mask_diversity])
@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((5, 4), {}, ["5:4", "0 <= n <= m", "not the zeros"]),
        ((-1, 4), {}, ["-1:4"]),
        ((0, 0), {}, ["0:0", "m >= 1"]),
        ((2.0, 4), {}, ["n must be an integer", "2.0", "float"]),
        ((2, "4"), {}, ["m must be an integer", "'4'", "str"]),
        ((True, 4), {}, ["n must be an integer", "bool"]),
        ((2, None), {}, ["m must be an integer", "None"]),
        ((2, 4, "transposeable"), {}, ["'transposeable'", "did you mean 'transposable'"]),
        ((2, 4, "diagonal"), {}, ["'diagonal'", "'rows'", "'sequential'"]),
        ((2, 4, 7), {}, ["unknown pattern 7"]),
        ((2, 4), {"method": "exakt"}, ["'exakt'", "did you mean 'exact'"]),
        ((2, 4), {"method": None}, ["unknown method None", "'paper'"]),
        ((2, 4), {"shape": (8,)}, ["(8,)", "two or more"]),
        ((2, 4), {"shape": ()}, ["()", "two or more"]),
        ((2, 4), {"shape": 8}, ["shape must be a sequence", "8"]),
        ((2, 4), {"shape": (8, -8)}, ["(8, -8)", "negative"]),
        ((2, 4), {"shape": (8, 8.0)}, ["a side of shape must be an integer", "8.0"]),
        ((2, 4), {"shape": (8, True)}, ["a side of shape must be an integer", "True"]),
        ((16, 32), {}, ["16:32", "32 x 32", "5.0e+12", "3.5e+09", "method='asymptotic'"]),
        ((100, 200), {}, ["100:200", "terms", "method='asymptotic'"]),
        ((400, 999), {}, ["400:999", "10^", "method='asymptotic'"]),
        ((16, 32), {"shape": (31, 30)}, ["31 x 30", "at most 16", "ragged"]),
        ((16, 32), {"shape": (64, 57), "method": "asymptotic"}, ["32 x 25", "ragged"]),
        ((2, 4), {"shape": (8, 6), "method": "paper"}, ["4 does not divide 6", "(8, 6)", "exact"]),
        ((2, 4, "rows"), {"shape": (8, 6), "method": "paper"}, ["4 does not divide 6"]),
        ((2, 4, "columns"), {"shape": (6, 8), "method": "paper"}, ["4 does not divide 6"]),
        ((2, 4, "sequential"), {"shape": (8, 6), "method": "paper"}, ["4 does not divide 6"]),
    ],
)
def test_wrong_input(function, arguments, options, words):
    started = time.perf_counter()
    with pytest.raises(nmflow.NmflowError) as raised:
        function(*arguments, **options)
    for word in words:
        assert word in str(raised.value)
    # Work is estimated, not tried.
    assert time.perf_counter() - started < 1


def test_paper_formulas_ask_for_whole_groups_where_there_are_groups():
    for pattern, shape in [("rows", (3, 8)), ("columns", (8, 3)), ("unstructured", (3, 5))]:
        assert mask_diversity(2, 4, pattern, shape=shape, method="paper") == mask_diversity(
            2, 4, pattern, shape=shape
        )


@pytest.mark.parametrize("pattern", PATTERNS)
def test_numbers_too_long_are_refused(pattern):
    with pytest.raises(nmflow.NmflowError, match=r"digits.*log10_mask_diversity") as raised:
        mask_diversity(4, 8, pattern, shape=(8, 4096, 4096))
    assert "(8, 4096, 4096)" in str(raised.value)
    with pytest.raises(nmflow.NmflowError, match=r"10\^\d.*float.*log10_mask_diversity"):
        mask_diversity(4, 8, pattern, shape=(256, 256), method="asymptotic")
    assert mask_diversity(4, 8, pattern, shape=(16, 16), method="asymptotic") > 0


def test_the_limit_on_digits_is_where_it_says(monkeypatch):
    monkeypatch.setattr(count, "DIGITS_LIMIT", 31)
    # log10 of 6 is 0.778: 6**40 has 32 digits.
    with pytest.raises(nmflow.NmflowError, match="has 32 digits, and no more than 31"):
        mask_diversity(2, 4, "rows", shape=(40, 4))
    assert mask_diversity(2, 4, "rows", shape=(39, 4)) == 6**39


def test_integers_of_any_kind_and_shapes_of_any_kind():
    assert mask_diversity(np.int64(2), np.uint8(4), shape=np.array([4, 8])) == 90**2
    assert mask_diversity(2, 4, shape=np.ones((8, 4)).shape) == 90**2
    assert mask_diversity(2, 4, shape=range(4, 6)) == mask_diversity(2, 4, shape=[4, 5])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_shape_without_entries_has_one_mask(pattern):
    for shape in [(0, 4), (4, 0), (0, 4, 4), (0, 0), (3, 0, 5)]:
        assert mask_diversity(2, 4, pattern, shape=shape) == 1
        assert log10_mask_diversity(2, 4, pattern, shape=shape) == 0
