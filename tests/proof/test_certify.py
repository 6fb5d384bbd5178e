"""Certificates: right about good masks, about bad ones, and to the last bit."""

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import problems
from tiles import KINDS, make

import nmflow
from nmflow.proof.prove import prove


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (2, 3), (4, 8)])
def test_bound_of_any_mask_is_the_optimum(kind, n, m, rng):
    """From masks that are random, empty, full of ones, or feasible but poor."""
    count = 4
    for rows in (m, m - 1):
        full = rows == m
        scores = make(kind, rng, count, rows, m)
        starts = [
            rng.random(scores.shape) < 0.3,
            np.zeros(scores.shape, bool),
            np.ones(scores.shape, bool),
            np.broadcast_to(np.roll(np.arange(m) < n, 1), scores.shape)
            & (np.arange(rows)[:, None] < n),
        ]
        for start in map(np.array, starts):
            proof = prove(scores, False, start, (rows, m), (n, n), full)
            same = (proof.optimum == start).all(axis=(1, 2))
            assert (proof.optimal.ravel() == same).all()
            for tile, mask in zip(scores, proof.optimum, strict=True):
                best = oracle.by_augmentation(oracle.as_integers(tile), n, full)
                assert oracle.exact_sum(tile, mask) == oracle.exact_sum(tile, best)
                held = mask.sum(axis=0), mask.sum(axis=1)
                assert all(((h == n) if full else (h <= n)).all() for h in held)


@given(problems(), st.randoms(use_true_random=False))
def test_bound_holds_whatever_the_mask(problem, random):
    weights, n, m = problem
    weights = weights / 2.0**8
    mask = np.array([random.random() < 0.5 for _ in range(weights.size)]).reshape(weights.shape)
    certificate = nmflow.certify(weights, mask, n, m)
    value = oracle.exact_sum(np.abs(weights), mask)
    optimum = oracle.exact_sum(np.abs(weights), nmflow.solve(weights, n, m))
    assert certificate.value == float(value)
    assert certificate.bound == float(optimum)
    assert certificate.absolute_gap == float(optimum - value)
    if certificate.feasible:
        assert (certificate.gap == 0) == (value == optimum)
    else:
        assert math.isnan(certificate.gap)


def test_a_gap_of_one_bit_is_seen():
    """The two masks of this tile differ by 2**-60 of their value."""
    weights = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-52]]) * np.array([[1.0], [2.0**-8]])
    best = nmflow.solve(weights, 1, 2)
    assert best.tolist() == [[True, False], [False, True]]
    certificate = nmflow.certify(weights, ~best, 1, 2)
    assert certificate.absolute_gap == 2.0**-60
    assert certificate.value == certificate.bound  # as float64 they are the same
    assert certificate.gap > 0
    assert certificate.optimal_tiles == 0
    assert nmflow.certify(weights, best, 1, 2).gap == 0


def test_sums_are_exact(rng):
    weights = rng.standard_normal((64, 64)) * 2.0 ** rng.integers(-200, 200, (64, 64))
    mask = nmflow.solve(weights, 4, 8)
    certificate = nmflow.certify(weights, mask, 4, 8)
    assert certificate.value == float(oracle.exact_sum(np.abs(weights), mask))
    whole = rng.integers(-(2**63), 2**63 - 1, (16, 16))
    mask = nmflow.solve(whole, 2, 4)
    value = sum(abs(v) for v in whole[mask].tolist())
    assert nmflow.certify(whole, mask, 2, 4).value == float(Fraction(value))


@pytest.mark.parametrize("least", [-1e-300, -5e-324, 1e-300, 5e-324])
def test_scores_that_vanish_beside_others_still_count(least):
    """Scaled to integers beside 1e300 they are below one unit, and not zero."""
    weights = np.zeros((4, 4))
    weights[0, 0], weights[1, 1] = 1e300, least
    identity = np.eye(4, dtype=bool)
    other = identity[[0, 2, 1, 3]]
    certificates = [nmflow.certify(weights, mask, 1, 4, score="raw") for mask in (identity, other)]
    best = int(least < 0)
    assert certificates[best].optimal
    assert certificates[best].gap == 0
    assert not certificates[1 - best].optimal
    assert certificates[1 - best].absolute_gap == abs(least)
    assert certificates[1 - best].gap == max(abs(least) / 1e300, 5e-324)


def test_a_partial_tile_that_keeps_a_tiny_loss_is_not_optimal():
    weights = np.zeros((3, 3))
    weights[0, 0], weights[1, 1] = 1e300, -1e-300
    mask = np.eye(3, dtype=bool)
    certificate = nmflow.certify(weights, mask, 1, 4, score="raw")
    assert not certificate.optimal
    assert certificate.gap > 0
    mask[1, 1] = False
    assert nmflow.certify(weights, mask, 1, 4, score="raw").optimal
    weights[1, 1] = 1e-300
    assert not nmflow.certify(weights, mask, 1, 4, score="raw").optimal


def test_a_gap_that_underflows_is_not_zero():
    weights = np.full((4, 4), 1e-320)
    weights[0, 0], weights[1, 1] = 1e300, 0
    mask = np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool)
    mask[3, 0] = True
    certificate = nmflow.certify(weights, mask, 2, 4)
    assert not certificate.optimal
    assert certificate.absolute_gap > 0
    assert certificate.gap == 5e-324
    assert "gap          4.94e-324" in str(certificate)


def test_a_total_whose_partial_sums_overflow():
    large = np.full((2, 2), np.finfo(float).max)
    weights = np.hstack([large, -large, np.ones((2, 2))])
    mask = np.tile(np.eye(2, dtype=bool), 3)
    certificate = nmflow.certify(weights, mask, 1, 2, score="raw")
    assert certificate.value == certificate.bound == 2
    assert certificate.optimal
    with pytest.raises(nmflow.NmflowError, match="exceeds float64"):
        nmflow.certify(weights, mask, 1, 2)


def test_violations_say_where():
    weights = np.ones((2, 8, 12))
    mask = nmflow.solve(weights, 2, 4)
    mask[1, 4:8, 8:12] = False
    mask[1, 6, 8:11] = True
    certificate = nmflow.certify(weights, mask, 2, 4)
    assert not certificate.feasible
    assert not certificate.full
    assert math.isnan(certificate.gap)
    first = certificate.violations[0]
    assert (first.matrix, first.tile, first.line, first.index) == (1, (1, 2), "row", 2)
    assert (first.held, first.allowed) == (3, 2)
    assert "row 2 of tile (1, 2) in matrix 1 holds 3, should hold 2" in str(certificate)
    under = [v for v in certificate.violations if v.held < 2]
    assert {(v.line, v.index) for v in under} >= {("row", 0), ("column", 3)}
    assert certificate.optimal_tiles == certificate.tiles - 1 == 11


@pytest.mark.parametrize("line", ["row", "column"])
def test_one_direction_is_not_enough(line):
    """The same entries kept in every row, or in every column: n in each of the one."""
    weights = np.ones((4, 8))
    mask = np.tile([True, True, False, False], (4, 2))
    if line == "row":
        weights, mask = weights.T, mask.T
    certificate = nmflow.certify(weights, mask, 2, 4)
    assert not certificate.feasible
    assert {(v.line, v.held) for v in certificate.violations} == {(line, 4), (line, 0)}


@pytest.mark.parametrize(
    ("pattern", "place"), [("rows", (5, 2)), ("columns", (1, 9)), ("unstructured", (0, 0))]
)
def test_violations_of_the_other_patterns(pattern, place):
    weights = np.ones((8, 12))
    mask = nmflow.solve(weights, 2, 4, pattern=pattern)
    if pattern == "columns":
        mask[4:8, 9] = True
    else:
        mask[5, 8:] = True
    certificate = nmflow.certify(weights, mask, 2, 4, pattern=pattern)
    assert not certificate.feasible
    (violation,) = certificate.violations
    assert violation.tile == place
    assert violation.line == {"rows": "row", "columns": "column"}.get(pattern, "matrix")


def test_partial_groups_are_placed_after_the_whole_ones():
    weights = np.ones((3, 10))
    mask = nmflow.solve(weights, 1, 4, pattern="rows")
    mask[2, 8:] = True
    (violation,) = nmflow.certify(weights, mask, 1, 4, pattern="rows").violations
    assert violation.tile == (2, 2)
    mask[2, 8:] = False
    certificate = nmflow.certify(weights, mask, 1, 4, pattern="rows")
    assert certificate.full
    assert certificate.gap == pytest.approx(1 / 9)
    assert certificate.optimal_tiles == 8


def test_an_underfilled_mask_is_feasible_but_not_full(rng):
    weights = rng.standard_normal((8, 8))
    mask = nmflow.solve(weights, 4, 8)
    mask[np.nonzero(mask)[0][0], np.nonzero(mask)[1][0]] = False
    certificate = nmflow.certify(weights, mask, 4, 8)
    assert certificate.feasible
    assert not certificate.full
    assert certificate.gap > 0
    assert "not full" in str(certificate)


def test_an_underfilled_mask_may_exceed_the_bound():
    """Holding exactly n can cost more than it brings: here 500 against 400."""
    weights = np.array([[100, 0, 0], [0, 100, 100], [0, 100, 100]])
    certificate = nmflow.certify(weights, weights > 0, 2, 3)
    assert certificate.feasible
    assert not certificate.full
    assert certificate.value == 500
    assert certificate.bound == 400
    assert certificate.gap == -0.25


def test_negative_scores_may_exceed_the_bound_when_underfilled():
    weights = -np.ones((4, 4))
    certificate = nmflow.certify(weights, np.zeros((4, 4), bool), 2, 4, score="raw")
    assert certificate.bound == -8
    assert certificate.absolute_gap == -8
    assert certificate.gap == -1
    zeros = nmflow.certify(np.zeros((4, 4)), np.zeros((4, 4), bool), 2, 4)
    assert zeros.gap == 0
    assert not zeros.full


def test_a_worthless_optimum_makes_the_gap_infinite():
    weights = np.array([[1.0, -1.0], [-1.0, 1.0]]) * np.array([[1.0], [-1.0]])
    weights = np.array([[0.0, -1.0], [-1.0, 0.0]])
    certificate = nmflow.certify(weights, weights < 0, 1, 2, score="raw")
    assert certificate.bound == 0
    assert certificate.gap == math.inf


def test_is_a_frozen_value(rng):
    weights = rng.standard_normal((8, 8))
    certificate = nmflow.certify(weights, weights > 9, 2, 4)
    assert pickle.loads(pickle.dumps(certificate)) == certificate
    assert copy.deepcopy(certificate) == certificate
    with pytest.raises(AttributeError):
        certificate.gap = 0.0


def test_prints_well():
    weights = np.arange(16.0).reshape(4, 4)
    text = str(nmflow.certify(weights, nmflow.solve(weights, 2, 4), 2, 4))
    assert text.splitlines() == [
        "2:4 transposable mask: proved optimal",
        "  kept score   60",
        "  upper bound  60",
        "  gap          0 (0 absolute)",
        "  tiles        1 of 1 optimal",
    ]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8)])
def test_every_swap_of_an_optimal_mask_is_found_out(n, m, rng):
    """Distinct sums: any other mask is worse, and the certificate must say so."""
    weights = np.abs(rng.standard_normal((m, m)))
    mask = nmflow.solve(weights, n, m)
    value = nmflow.certify(weights, mask, n, m).value
    for i, k in zip(*np.triu_indices(m, 1), strict=True):
        other = mask.copy()
        other[[i, k]] = other[[k, i]]
        if (other == mask).all():
            continue
        certificate = nmflow.certify(weights, other, n, m)
        assert certificate.full
        assert certificate.optimal_tiles == 0
        assert certificate.bound == value
        assert certificate.gap > 0
