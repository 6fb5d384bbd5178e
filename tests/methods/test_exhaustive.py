"""``exhaustive`` is the mask of the contract, straight from the list of all masks."""

import numpy as np
import oracle
import pytest
from tiles import KINDS, make, seeded

from nmflow.errors import NmflowError
from nmflow.problem import ties
from nmflow.solvers import exhaustive
from nmflow.solvers.exhaustive import LIMIT, all_masks, solve_tiles
from nmflow.solvers.flow import method as flow

FULL = [(1, 2, 2), (2, 3, 3), (1, 4, 4), (2, 4, 4), (3, 4, 4)]
PARTIAL = [(1, 2, 3), (2, 3, 2), (1, 3, 3), (2, 3, 3), (3, 3, 3), (2, 4, 2), (3, 4, 1), (1, 1, 4)]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_mask_of_the_contract_by_enumeration(kind, full):
    rng = seeded(kind, full)
    for n, rows, columns in FULL if full else PARTIAL:
        scores = make(kind, rng, 6, rows, columns)
        scores[3:] *= rng.choice([-1, 1], scores[3:].shape)
        for tile, mask in zip(scores, solve_tiles(scores.copy(), n, full), strict=True):
            np.testing.assert_array_equal(mask, oracle.by_enumeration(tile, n, full))


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 4), (1, 5), (2, 5), (1, 7), (6, 7)])
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_mask_of_flow(kind, n, m):
    rng = seeded(kind, n, m)
    shapes = [(m, m)] + ([(m - 1, m), (m, 2), (m - 1, m - 1)] if m == 4 else [])
    for rows, columns in shapes:
        full = rows == columns == m
        scores = make(kind, rng, 8 if m > 5 else 100, rows, columns)
        scores *= rng.choice([-1, 1], scores.shape) if rng.random() < 0.5 else 1
        expected = flow.solve_tiles(scores.copy(), n, full)
        np.testing.assert_array_equal(solve_tiles(scores, n, full), expected)


@pytest.mark.parametrize(("n", "rows", "columns", "full"), [(2, 4, 4, True), (2, 3, 4, False)])
def test_list_is_complete_and_in_the_order_of_the_rule(n, rows, columns, full):
    tables = [ties.table(k, rows, columns) for k in range(ties.TABLES)]

    def rank(mask):
        return (*(int(t.ravel()[mask].sum()) for t in tables), mask.tolist())

    masks = oracle.feasible_masks(rows, columns, n, full).reshape(-1, rows * columns)
    expected = sorted(masks, key=rank, reverse=True)
    np.testing.assert_array_equal(all_masks(rows, columns, n, full), expected)


def test_position_breaks_ties_that_the_tables_leave(monkeypatch):
    monkeypatch.setattr(ties, "table", lambda k, rows, columns: np.ones((rows, columns), int))
    masks = all_masks(4, 4, 2, True)
    assert masks.tolist() == sorted(masks.tolist(), reverse=True)


@pytest.mark.parametrize(
    ("m", "n", "count"), [(4, 2, 90), (5, 2, 2040), (6, 1, 720), (7, 1, 5040), (7, 6, 5040)]
)
def test_counts(m, n, count):
    assert len(all_masks(m, m, n, True)) == count < LIMIT


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
@pytest.mark.parametrize("low", [0, 50, 58, 62])
def test_integers_that_float64_cannot_tell_apart(dtype, low):
    rng = seeded(dtype, low)
    scores = rng.integers(0, 3, (60, 4, 4)).astype(dtype) + dtype(2**low)
    if dtype is np.int64:
        scores[30:] *= -1
    else:
        scores[30:] += dtype(2**63)
    for n in (1, 2):
        for tile, mask in zip(scores, solve_tiles(scores.copy(), n, True), strict=True):
            np.testing.assert_array_equal(mask, oracle.by_enumeration(tile, n, True))


@pytest.mark.parametrize("bits", [20, 40, 52, 56, 59, 61, 70, 200])
def test_scores_that_differ_in_the_last_of_many_bits(bits):
    rng = seeded(bits)
    scores = rng.integers(2, 4, (40, 4, 4)).astype(float)
    scores[rng.random(scores.shape) < 0.3] *= 2.0**-bits
    for tile, mask in zip(scores, solve_tiles(scores.copy(), 2, True), strict=True):
        np.testing.assert_array_equal(mask, oracle.by_enumeration(tile, 2, True))


def test_float32_and_the_ends_of_float64():
    scores = np.abs(seeded("f").standard_normal((50, 4, 4))).astype(np.float32)
    expected = flow.solve_tiles(scores.astype(float), 2, True)
    np.testing.assert_array_equal(solve_tiles(scores, 2, True), expected)
    for scale in (1e-320, 1e-308, 1e300, 4e307):
        ends = scores.astype(float) * scale
        expected = flow.solve_tiles(ends.copy(), 2, True)
        np.testing.assert_array_equal(solve_tiles(ends, 2, True), expected)


def test_a_tile_does_not_depend_on_its_batch(monkeypatch):
    rng = seeded("batch")
    scores = np.concatenate([make(kind, rng, 5, 4, 4) for kind in KINDS])
    whole = solve_tiles(scores.copy(), 2, True)
    order = rng.permutation(len(scores))
    np.testing.assert_array_equal(solve_tiles(scores[order], 2, True), whole[order])
    monkeypatch.setattr(exhaustive, "CHUNK", 1000)
    monkeypatch.setattr(exhaustive, "WIDE_CHUNK", 200)
    np.testing.assert_array_equal(solve_tiles(scores.copy(), 2, True), whole)
    assert solve_tiles(scores[:0], 2, True).shape == (0, 4, 4)


@pytest.mark.parametrize("full", [True, False])
def test_groups_that_constrain_nothing(full):
    scores = seeded("all").standard_normal((3, 20, 20))
    mask = solve_tiles(scores, 20, full)
    np.testing.assert_array_equal(mask, full | (scores >= 0))


@pytest.mark.parametrize(
    ("n", "rows", "columns", "full"),
    [(4, 8, 8, True), (8, 16, 16, True), (16, 32, 32, True), (1, 8, 8, True), (2, 6, 6, True),
     (1, 500, 500, True), (5, 10, 10, True), (4, 7, 8, False), (16, 31, 32, False)],
)  # fmt: skip
def test_too_many_masks_are_refused_at_once(n, rows, columns, full):
    with pytest.raises(NmflowError, match=rf"{rows}x{columns} .*n={n} .*10,000 .*'flow'"):
        solve_tiles(np.ones((1, rows, columns)), n, full)
