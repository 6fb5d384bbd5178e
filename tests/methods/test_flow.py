"""``flow`` is exact, and follows the tie rule, on whatever a tile may hold."""

import zlib

import numpy as np
import oracle
import pytest
import tiles
from hypothesis import given
from tiles import KINDS, PATTERNS, make, problems

import nmflow
from nmflow.problem import ties
from nmflow.solvers.flow import method as flow
from nmflow.solvers.flow.method import solve_tiles
from nmflow.solvers.integers import unique_integers


def seeded(*key):
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def integer_tiles(kind, rng, count, rows, columns):
    """The kind's tiles as integers that an LP solver handles without rounding."""
    scores = make(kind, rng, count, rows, columns)
    largest = np.abs(scores).max(axis=(1, 2), keepdims=True)
    return np.round(scores / np.where(largest == 0, 1, largest) * 2.0**20)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_mask_of_the_contract_by_enumeration(kind, full):
    rng = seeded(kind, full)
    shapes = (
        [(1, 2, 2), (2, 3, 3), (1, 4, 4), (2, 4, 4), (3, 4, 4)]
        if full
        else [(1, 2, 3), (2, 3, 2), (1, 3, 3), (2, 3, 3), (3, 3, 3), (2, 4, 2), (3, 4, 1)]
    )
    for n, rows, columns in shapes:
        sign = rng.choice([-1, 1], (6, rows, columns)) if rng.random() < 0.5 else 1
        scores = make(kind, rng, 6, rows, columns) * sign
        masks = solve_tiles(scores.copy(), n, full)
        for tile, mask in zip(scores, masks, strict=True):
            np.testing.assert_array_equal(
                mask, oracle.by_enumeration(tile, n, full), err_msg=f"{n} {tile}"
            )


@pytest.mark.parametrize(("n", "m"), [(4, 8), (3, 8), (5, 7), (6, 8), (8, 16)])
@pytest.mark.parametrize("kind", KINDS)
def test_follows_the_tie_rule_by_augmentation_in_integers(kind, n, m):
    count = 1 if m == 16 else 3
    for rows, columns in ((m, m), (m - 2, m)):
        full = rows == m
        scores = make(kind, seeded(kind, n, m), count, rows, columns)
        masks = solve_tiles(scores.copy(), n, full)
        for tile, mask in zip(scores, masks, strict=True):
            expected = oracle.by_augmentation(oracle.with_tie_rule(tile), n, full)
            np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_value_agrees_with_linear_programming(kind, n, m):
    check_against_linear_programme(kind, n, m, 400 // m)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_value_agrees_with_linear_programming_on_many_tiles(kind, n, m):
    check_against_linear_programme(kind, n, m, 1200 // m, repeats=4)


def check_against_linear_programme(kind, n, m, count, repeats=1):
    rng = seeded(kind, n, m, repeats)
    for _ in range(repeats):
        for rows, columns in ((m, m), (m, max(1, m // 2 + 1))):
            full = rows == columns
            scores = integer_tiles(kind, rng, count, rows, columns)
            values = np.where(solve_tiles(scores.copy(), n, full), scores, 0).sum(axis=(1, 2))
            lp = np.where(oracle.by_linear_programme(scores, n, full), scores, 0).sum(axis=(1, 2))
            np.testing.assert_array_equal(values, lp)


# The engine's masks of 1:4 and 3:8 are looked at in float32, in test_engine.py.
RARE = [pytest.param(*each, marks=pytest.mark.slow) for each in ((1, 4), (3, 8))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 4), (4, 8), (8, 16), (16, 32), (5, 7), *RARE])
def test_is_certified(kind, n, m):
    count = max(2, 64 // m)
    weights = make(kind, seeded(kind, n), 1, m * count + 1, m * 2 + 3)[0]
    if kind == "whole range":
        weights /= 2.0**20  # its sum is to fit float64
    certificate = nmflow.certify(weights, nmflow.solve(weights, n, m), n, m)
    assert certificate.gap == 0
    assert certificate.absolute_gap == 0
    assert certificate.full
    assert certificate.optimal_tiles == certificate.tiles == (count + 1) * 3


@given(problems())
def test_any_matrix_is_certified(problem):
    weights, n, m = problem
    weights = weights / 2.0**8
    for score in ("raw", "abs"):
        mask = nmflow.solve(weights, n, m, score=score)
        certificate = nmflow.certify(weights, mask, n, m, score=score)
        assert certificate.optimal
        assert certificate.gap == 0


@given(problems(largest=3))
def test_any_small_matrix_has_the_mask_of_the_contract(problem):
    weights, n, m = problem
    mask = nmflow.solve(weights, n, m, score="raw")
    for i in range(0, weights.shape[0], m):
        for j in range(0, weights.shape[1], m):
            tile = weights[i : i + m, j : j + m]
            expected = oracle.by_enumeration(tile, n, tile.shape == (m, m))
            np.testing.assert_array_equal(mask[i : i + m, j : j + m], expected)


# Of each m one n or two, since each is compiled by itself up to 32; all of them in slow tests.
SOME = {1: [1], 2: [2], 9: [4], 24: [13], 33: [1, 11, 32]}
SOME |= {48: [16, 48], 64: [32], 80: [1, 40, 79]}


@pytest.mark.parametrize(("n", "m"), [(n, m) for m, some in SOME.items() for n in some])
def test_some_n_of_every_m(n, m, rng):
    check_that_n_are_kept(n, m, rng)


@pytest.mark.slow
@pytest.mark.parametrize("m", [*SOME, 3, 5, 6, 12])
def test_every_n_of_m(m, rng):
    for n in {1, 2, m // 3, m // 2, m - 1, m} & set(range(1, m + 1)):
        check_that_n_are_kept(n, m, rng)


def check_that_n_are_kept(n, m, rng):
    weights = rng.standard_normal((m, 2 * m)).astype(np.float32)
    for values in (weights, np.ones_like(weights)):
        mask = nmflow.solve(values, n, m)
        assert nmflow.certify(values, mask, n, m).optimal
        assert (mask.reshape(m, 2, m).sum(axis=2) == n).all()


def test_tables_are_part_of_the_contract():
    assert ties.TABLES == 4
    assert ties.table(0, 2, 4).tolist() == [[251, 96, 221, 124], [250, 160, 69, 88]]
    assert ties.table(3, 64, 64)[63, 60:].tolist() == [39, 76, 176, 86]
    for index in range(ties.TABLES):
        whole = ties.table(index, 64, 64)
        assert whole.min() == 1
        assert whole.max() == 255
        np.testing.assert_array_equal(ties.table(index, 5, 9), whole[:5, :9])


def test_ties_beyond_the_tables_go_by_position(monkeypatch):
    monkeypatch.setattr(ties, "TABLES", 0)
    monkeypatch.setattr(oracle, "TABLES", 0)
    monkeypatch.setattr(flow, "solve_batch", lambda *a: a[-1].fill(False))
    mask = solve_tiles(np.zeros((1, 4, 4)), 2, True)[0]
    np.testing.assert_array_equal(mask, oracle.by_enumeration(np.zeros((4, 4)), 2, True))
    assert mask[0].tolist() == [True, True, False, False]
    ragged = solve_tiles(np.zeros((1, 2, 3)), 1, False)[0]
    assert ragged.tolist() == [[True, False, False], [False, True, False]]


@pytest.mark.parametrize("kind", ["gaussian", "binary", "constant", "40 decades", "one huge"])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16)])
def test_all_fallbacks_give_the_same_mask(kind, n, m):
    """The interpreted fallback in unbounded integers is the oracle of the compiled one."""
    for rows in (m, m - 1):
        scores = make(kind, seeded(kind, n), 4, rows, m)
        compiled = solve_tiles(scores.copy(), n, rows == m)
        for tile, mask in zip(scores, compiled, strict=True):
            unbounded = flow.solve_unbounded(unique_integers(tile[None])[0], (n, n), rows == m)
            np.testing.assert_array_equal(mask, unbounded)


def test_only_hard_tiles_need_unbounded_integers(monkeypatch, rng):
    calls = []
    monkeypatch.setattr(flow, "solve_unbounded", lambda *a: calls.append(a))
    for kind in ("gaussian", "student"):
        solve_tiles(make(kind, rng, 50, 8, 8), 4, True)
    for kind in ("gaussian", "student", "binary", "constant", "zero", "mostly zero", "rank one"):
        solve_tiles(make(kind, rng, 50, 8, 8).astype(np.float32).astype(float), 4, True)
    assert not calls


@given(problems(largest=8, elements=tiles.st.floats(-4, 4, width=16)))
def test_value_is_invariant(problem):
    weights, n, m = problem
    rows, columns = (size - size % m for size in weights.shape)
    if not rows or not columns:
        return
    weights = weights[:rows, :columns]
    value = nmflow.certify(weights, nmflow.solve(weights, n, m), n, m).value

    def kept(other):
        return nmflow.certify(other, nmflow.solve(other, n, m), n, m).value

    shuffled = weights.reshape(-1, m, columns)[:, ::-1].reshape(rows, columns)
    assert kept(weights.T) == value
    assert kept(shuffled) == value
    assert kept(-weights) == value
    assert kept(weights * 2.0**-40) == value * 2.0**-40


def test_strict_scores_scale_to_the_same_mask(rng):
    weights = rng.standard_normal((32, 32))
    mask = nmflow.solve(weights, 4, 8)
    for exponent in (-900, -60, 60, 900):
        np.testing.assert_array_equal(nmflow.solve(weights * 2.0**exponent, 4, 8), mask)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_beyond_float64(dtype):
    """2**62 and 2**62 + 1 are one float64; the optimum must tell them apart."""
    base = 2**62
    weights = np.array([[base, base + 1], [base + 1, base + 1]], dtype)
    mask = nmflow.solve(weights, 1, 2)
    assert mask.tolist() == [[False, True], [True, False]]
    assert nmflow.certify(weights, mask, 1, 2).optimal
    assert not nmflow.certify(weights, ~mask, 1, 2).optimal
    certificate = nmflow.certify(weights, ~mask, 1, 2)
    assert certificate.absolute_gap == 1


def test_the_smallest_integer_has_a_magnitude():
    low = np.iinfo(np.int64).min
    weights = np.array([[low, low + 1], [0, low]])
    assert nmflow.solve(weights, 1, 2).tolist() == [[True, False], [False, True]]
