"""Masks with the prices that prove them, and certificates that are handed prices."""

from fractions import Fraction

import numpy as np
import pytest
from tiles import KINDS, changed, cut_and_join, seeded

import nmflow

PROBLEMS = [(n, m, np.float32) for n, m in ((2, 4), (4, 8), (8, 16), (16, 32))]
PROBLEMS += [(4, 8, np.float16), (2, 3, np.float64)]


def whole_matrix(prices, n, m, shape):
    """u + v of every entry, as pairs."""
    rows, columns = shape
    u = np.repeat(prices.rows[0], m, axis=1)[:, :columns].astype(float)
    v = np.repeat(prices.columns[0], m, axis=0)[:rows].astype(float)
    return u, v


def proves(scores, mask, u, v):
    """By fractions, entry by entry."""
    bounds = [Fraction(a) + Fraction(b) for a, b in zip(u.ravel(), v.ravel(), strict=True)]
    pairs = zip(scores.ravel(), mask.ravel(), bounds, strict=True)
    return all((score >= bound) if kept else (score <= bound) for score, kept, bound in pairs)


@pytest.mark.parametrize(("n", "m", "dtype"), PROBLEMS)
def test_prices_prove_the_mask_entry_by_entry(n, m, dtype):
    weights = seeded(n, m).standard_normal((3 * m + 2, 4 * m + 1)).astype(dtype)
    mask, prices = nmflow.solve_with_prices(weights, n, m)
    np.testing.assert_array_equal(mask, nmflow.solve(weights, n, m))
    assert prices.rows.shape == (1, 3 * m + 2, 5)
    assert prices.columns.shape == (1, 4, 4 * m + 1)
    assert all(np.isfinite(part).all() for part in prices)
    assert proves(abs(weights).astype(float), mask, *whole_matrix(prices, n, m, weights.shape))


# The total score of the whole range exceeds float64.
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"whole range"}))
def test_prices_of_any_tiles_leave_the_certificate_as_it_is(kind):
    for n, m in [(4, 8), (2, 4)]:
        weights = cut_and_join(kind, seeded(kind, n, m), m, 3, 4)[:-1]
        for score in ("abs", "raw"):
            mask, prices = nmflow.solve_with_prices(weights, n, m, score=score)
            np.testing.assert_array_equal(mask, nmflow.solve(weights, n, m, score=score))
            given = nmflow.certify(weights, mask, n, m, score=score, prices=prices)
            assert given == nmflow.certify(weights, mask, n, m, score=score)
            assert given.optimal


def test_leading_dimensions_axes_and_frameworks():
    torch = pytest.importorskip("torch")
    weights = torch.from_numpy(seeded(1).standard_normal((16, 2, 24, 3)).astype(np.float32))
    mask, prices = nmflow.solve_with_prices(weights, 4, 8, axes=(0, 2))
    assert torch.equal(mask, nmflow.solve(weights, 4, 8, axes=(0, 2)))
    assert prices.rows.shape == (6, 16, 3)
    assert prices.columns.shape == (6, 2, 24)
    assert nmflow.certify(weights, mask, 4, 8, axes=(0, 2), prices=prices).optimal


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint64])
def test_integers(dtype):
    large = np.iinfo(dtype).max
    weights = seeded(dtype).integers(0, large, (16, 24), dtype=dtype)
    mask, prices = nmflow.solve_with_prices(weights, 4, 8)
    assert nmflow.certify(weights, mask, 4, 8, prices=prices).optimal


def test_nothing_and_everything():
    mask, prices = nmflow.solve_with_prices(np.zeros((0, 8)), 2, 4)
    assert mask.shape == (0, 8)
    assert prices.rows.shape == (1, 0, 2)
    mask, prices = nmflow.solve_with_prices(np.ones((4, 8)), 4, 4)
    assert mask.all()
    assert nmflow.certify(np.ones((4, 8)), mask, 4, 4, prices=prices).optimal


@pytest.mark.parametrize(("n", "m"), [(4, 8), (8, 16), (16, 32)])
def test_a_tracker_hands_out_the_prices_of_its_mask(n, m):
    rng = seeded(n, m)
    weights = rng.standard_normal((4 * m, 5 * m)).astype(np.float32)
    tracker = nmflow.Tracker(weights.shape, n, m)
    for _ in range(3):
        mask, _ = tracker.update(weights)
        prices = tracker.prices
        given = nmflow.certify(weights, mask, n, m, prices=prices)
        assert given == nmflow.certify(weights, mask, n, m)
        u, v = whole_matrix(prices, n, m, weights.shape)
        right = np.where(mask, abs(weights) >= u + v, abs(weights) <= u + v)
        tiles = right.reshape(4, m, 5, m).all(axis=(1, 3))
        assert tiles.mean() > 0.5, "most of what the engine proves needs no search"
        weights = changed(rng, weights, 1e-3)


@pytest.fixture(scope="module")
def solved():
    weights = seeded("solved").standard_normal((40, 48)).astype(np.float32)
    return weights, *nmflow.solve_with_prices(weights, 4, 8)


def cheat(rng, weights, mask, prices):
    """One of many ways to hand a certificate something else than belongs together."""
    rows, columns = (part.copy() for part in prices)
    weights, mask, way = weights.copy(), mask.copy(), rng.integers(6)
    if way == 0:
        part = (rows, columns)[rng.integers(2)]
        values = [0, 1e38, -1e38, np.nan, np.inf, rng.standard_normal()]
        part.reshape(-1)[rng.integers(part.size)] = values[rng.integers(6)]
    elif way == 1:
        rows = rows[:, rng.permutation(rows.shape[1])]
    elif way == 2:
        columns = columns[:, :, rng.permutation(columns.shape[2])]
    elif way == 3:
        # An exchange along a cycle of four, which leaves all counts as they are.
        i, j = 8 * rng.integers(0, 5), 8 * rng.integers(0, 6)
        tile = mask[i : i + 8, j : j + 8]
        a, b = rng.permutation(8)[:2]
        apart = np.flatnonzero(tile[a] & ~tile[b]), np.flatnonzero(tile[b] & ~tile[a])
        if all(each.size for each in apart):
            pair = [rng.choice(apart[0]), rng.choice(apart[1])]
            tile[np.ix_([a, b], pair)] ^= True
    elif way == 4:
        weights[tuple(rng.integers(weights.shape))] *= rng.choice([0.5, 1.001, 4])
    else:
        flipped = tuple(rng.integers(mask.shape))
        mask[flipped] ^= True
    return weights, mask, nmflow.Prices(rows, columns)


@pytest.mark.parametrize("part", range(4))
def test_what_does_not_belong_together_is_never_called_optimal(solved, part):
    """2,500 corruptions in each part; what they are in truth a certificate without prices says."""
    rng = seeded("cheat", part)
    lies = 0
    for _ in range(2500):
        weights, mask, prices = cheat(rng, *solved)
        given = nmflow.certify(weights, mask, 4, 8, prices=prices, workers=1)
        best = nmflow.solve(weights, 4, 8, workers=1)
        assert given.optimal == bool((best == mask).all())
        lies += not given.optimal
    assert lies > 500


def test_wrong_prices_are_named():
    weights = np.ones((8, 16))
    mask, (rows, columns) = nmflow.solve_with_prices(weights, 4, 8)
    with pytest.raises(nmflow.NmflowError, match=r"rows of shape \(1, 8, 1\).*\(1, 8, 2\)"):
        nmflow.certify(weights, mask, 4, 8, prices=nmflow.Prices(rows[:, :, :1], columns))
    with pytest.raises(nmflow.NmflowError, match=r"columns of shape .* and dtype int64"):
        nmflow.certify(weights, mask, 4, 8, prices=nmflow.Prices(rows, columns.astype(int)))
    with pytest.raises(nmflow.NmflowError, match="only transposable masks have prices"):
        nmflow.certify(weights, mask, 4, 8, pattern="rows", prices=nmflow.Prices(rows, columns))
