"""The property suite: every method of the registry is held to what it promises."""

import numpy as np
import oracle
import pytest
import references
from hypothesis import given
from hypothesis import strategies as st
from strategies import small_tiles
from tiles import KINDS, PATTERNS, make, seeded

import nmflow
from nmflow.solvers.network_simplex.method import solve_with_potentials
from nmflow.solvers.registry import METHODS

EXACT = [name for name, method in METHODS.items() if method.exact]
APPROXIMATE = [name for name, method in METHODS.items() if not method.exact]
FULL = [*EXACT, "local-search", "entropic"]
# More takes an LP solver, or an enumeration, too long.
FEW = {"lp": 2, "exhaustive": 12}


def reaches(name, m):
    return name != "exhaustive" or m <= 4


def run(name, scores, n, full):
    method = METHODS[name]
    return method.tile_solver()(scores.copy(), n, full, method)


def compare(scores, ours, theirs):
    """The sign of our kept score less theirs, a tile each, in exact arithmetic."""
    signs = np.zeros(len(scores), int)
    for t in np.flatnonzero((ours != theirs).any(axis=(1, 2))):
        only_ours, only_theirs = ours[t] & ~theirs[t], theirs[t] & ~ours[t]
        signs[t] = oracle.sign_of_difference(scores[t][only_ours], scores[t][only_theirs])
    return signs


def check_promises(scores, n, full, methods):
    """Feasibility, fullness, exactness and never above the optimum, for a batch of tiles."""
    optimum = run("flow", scores, n, full)
    at_most = run("flow", scores, n, False) if full else optimum
    for name in methods:
        mask = run(name, scores, n, full)
        held = np.concatenate([mask.sum(axis=1), mask.sum(axis=2)], axis=1)
        assert (held <= n).all(), name
        if not full:
            assert not (mask & (scores < 0)).any(), name
        if name in FULL and full:
            assert (held == n).all(), name
        if name in EXACT:
            assert (compare(scores, mask, optimum) == 0).all(), name
        else:
            # What is not full is compared with what need not be full: filling can cost score.
            best = optimum if name in FULL else at_most
            assert (compare(scores, mask, best) <= 0).all(), name
    return at_most


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (1, 4), (4, 8), (5, 7), (8, 16)])
def test_promises(kind, n, m):
    rng = seeded(kind, n, m)
    for rows in (m, m - 1):
        scores = make(kind, rng, max(2, 48 // m), rows, m)
        if rng.random() < 0.5:
            scores = scores * rng.choice([-1.0, 1.0], scores.shape)
        names = [name for name in METHODS if reaches(name, m)]
        check_promises(scores, n, rows == m, [name for name in names if name not in FEW])
        for name in set(names) & set(FEW):
            check_promises(scores[: FEW[name]], n, rows == m, [name])


# Tiles of these leave 64 bits and take flow's unbounded integers: fewer of them, more of others.
WIDE = {"12 decades", "40 decades", "one huge", "2**60 apart", "sums of powers", "whole range"}


def many(kind, m):
    return 100 if kind in WIDE else 200 if m == 32 else 1150


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_promises_on_a_hundred_thousand_tiles(kind, n, m):
    """18 kinds, 8 patterns; a tenth of the tiles signed, a tenth partial."""
    rng = seeded("many", kind, n, m)
    quick = [name for name in METHODS if name not in FEW]
    names = [*quick, "exhaustive"] if reaches("exhaustive", m) else quick
    count = many(kind, m)
    scores = make(kind, rng, count * 8 // 10, m, m)
    at_most = check_promises(scores, n, True, names)
    check_bounds(scores, at_most, n)
    signed = make(kind, rng, count // 10, m, m)
    check_promises(signed * rng.choice([-1.0, 1.0], signed.shape), n, True, names)
    check_promises(make(kind, rng, count // 10, m, m // 2 + 1), n, False, quick)


def test_the_suite_is_as_large_as_it_says():
    assert sum(many(kind, m) for kind in KINDS for _, m in PATTERNS) >= 100_000


def check_bounds(scores, optimum, n):
    """For scores >= 0: greedy prunes at most twice, greedy-keep keeps at least half the optimum."""
    scores = np.abs(scores)
    optimum = run("flow", scores, n, False) if optimum is None else optimum
    greedy, keep = (run(name, scores, n, True) for name in ("greedy", "greedy-keep"))
    for tile, best, pruned, kept in zip(scores, optimum, ~greedy, keep, strict=True):
        twice = np.concatenate([tile[~best], tile[~best]])
        assert oracle.sign_of_difference(tile[pruned], twice) <= 0
        twice = np.concatenate([tile[kept], tile[kept]])
        assert oracle.sign_of_difference(twice, tile[best]) >= 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), [(1, 2), (1, 3), (2, 4), (3, 4), (3, 8)])
def test_bounds_are_theorems(kind, n, m):
    check_bounds(make(kind, seeded(kind, n, m), 20, m, m), None, n)


@pytest.mark.parametrize("n", [1, 2, 4, 8])
@pytest.mark.parametrize("excess", [0.0, 2.0**-20])
def test_a_family_that_attains_both_bounds(n, excess):
    """Blocks [[1, 1], [1, 0]] of n x n, m = 2n: the best mask prunes or keeps a whole diagonal.

    Greedy prunes the block of zeros, which settles what its rows and columns owe, and then both
    other blocks of ones in turn: twice as much as the first block alone. Greedy-keep takes the
    first block, and nothing but zeros is left with room. With ties broken by a little excess in the
    first block the ratios are approached; without, they are attained.
    """
    ones = np.ones((n, n))
    tile = np.block([[(1 + excess) * ones, ones], [ones, 0 * ones]])[None]
    optimum = run("exhaustive" if n <= 2 else "flow", tile, n, True)
    pruned = tile[~run("greedy", tile, n, True)].sum() / tile[~optimum].sum()
    kept = tile[run("greedy-keep", tile, n, True)].sum() / tile[optimum].sum()
    assert pruned == 2 / (1 + excess)
    assert kept == (1 + excess) / 2


def test_holding_exactly_n_can_cost_score():
    """So a mask that is not full may exceed the optimum of masks that are."""
    tile = np.array([[[100.0, 0, 0], [0, 100, 100], [0, 100, 100]]])
    assert tile[run("flow", tile, 2, True)].sum() == 400
    assert tile[run("greedy-keep", tile, 2, True)].sum() == 500


@given(small_tiles, st.integers(1, 5))
@pytest.mark.parametrize("name", ["greedy", "greedy-keep", "local-search"])
def test_is_its_definition(name, tile, n):
    reference = getattr(references, name.replace("-", "_"))
    for full in {False, tile.shape[0] == tile.shape[1] and n <= tile.shape[0]}:
        mask = run(name, tile[None], n, full)[0]
        np.testing.assert_array_equal(mask, reference(tile, n, full))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint64])
@pytest.mark.parametrize("name", METHODS)
def test_score_dtypes(name, dtype, rng):
    """float32 scores give what float64 gives; 64-bit integers keep their last bit."""
    scores = rng.standard_normal((3, 4, 4)).astype(np.float32)
    if dtype is np.float32:
        np.testing.assert_array_equal(
            run(name, scores, 2, True), run(name, scores.astype(float), 2, True)
        )
        return
    scores = rng.integers(2**62, 2**62 + 5, (3, 4, 4)).astype(dtype)
    mask = run(name, scores, 2, True)
    if name in EXACT:
        assert (compare(scores, mask, run("flow", scores, 2, True)) == 0).all()
    elif name != "entropic":  # float32 at heart
        small = (scores - dtype(2**62)).astype(float)
        if name != "local-search":
            np.testing.assert_array_equal(mask, run(name, small, 2, True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns", "n"), [(8, 8, 4), (5, 7, 3), (16, 16, 8)])
def test_potentials_of_the_network_simplex(kind, rows, columns, n):
    """Complementary slackness, exactly, on integer scores."""
    scores = make(kind, seeded(kind, n), 5, rows, columns)
    largest = np.abs(scores).max(axis=(1, 2), keepdims=True)
    scores = np.round(scores / np.where(largest == 0, 1, largest) * 2.0**30)
    full = rows == columns
    mask, u, v = solve_with_potentials(scores, n, full)
    price = u[:, :, None] + v[:, None, :]
    assert np.where(mask, scores >= price, scores <= price).all()
    if not full:
        assert ((u >= 0) & ((u == 0) | (mask.sum(axis=2) == n))).all()
        assert ((v >= 0) & ((v == 0) | (mask.sum(axis=1) == n))).all()


def test_exhaustive_and_flow_give_the_same_mask():
    for kind in KINDS:
        for n, m in ((1, 2), (2, 4), (1, 4), (3, 4)):
            for rows in (m, m - 1):
                scores = make(kind, seeded(kind, n), 30, rows, m)
                ours, theirs = (run(name, scores, n, rows == m) for name in ("exhaustive", "flow"))
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16)])
def test_entropic_converges_with_its_options(n, m, rng):
    weights = rng.standard_normal((128, 128))
    bound = nmflow.certify(weights, nmflow.solve(weights, n, m), n, m).value

    def loss(**options):
        mask = nmflow.solve(weights, n, m, nmflow.Entropic(**options))
        return 1 - np.abs(weights[mask]).sum() / bound

    assert loss(tau=5) > loss(tau=80) > 0
    assert loss(iterations=2) > loss(iterations=200)
    assert loss(sweeps=None) < loss(sweeps=0) < 0.002


@pytest.mark.parametrize(("beside", "kept"), [(3, [[1, 0], [0, 0]]), (7, [[0, 1], [1, 0]])])
def test_local_search_swaps_on_partial_tiles_where_that_gains(beside, kept):
    """Two entries for the largest, which stands alone since its opposite is negative."""
    tile = np.array([[[10.0, beside], [beside, -1.0]]])
    assert run("local-search", tile, 1, False)[0].tolist() == kept


def test_local_search_sweeps(rng):
    weights = rng.standard_normal((64, 64))
    kept = [
        np.abs(weights[nmflow.solve(weights, 8, 16, nmflow.LocalSearch(sweeps))]).sum()
        for sweeps in (0, 1, None)
    ]
    assert kept[0] < kept[1] <= kept[2]


@pytest.mark.parametrize(
    ("make_method", "words"),
    [
        (lambda: nmflow.Entropic(tau=0), ["tau", "(0, 80]", "0"]),
        (lambda: nmflow.Entropic(tau=81), ["tau", "(0, 80]", "81"]),
        (lambda: nmflow.Entropic(tau=float("nan")), ["tau", "nan"]),
        (lambda: nmflow.Entropic(tau="hot"), ["tau", "'hot'"]),
        (lambda: nmflow.Entropic(iterations=0), ["iterations", ">= 1", "0"]),
        (lambda: nmflow.Entropic(iterations=2.5), ["iterations", "2.5"]),
        (lambda: nmflow.Entropic(sweeps=-1), ["sweeps", "None or an integer >= 0", "-1"]),
        (lambda: nmflow.LocalSearch(sweeps=True), ["sweeps", "True"]),
        (lambda: nmflow.Lp(time_limit=0), ["time_limit", "> 0", "0"]),
        (lambda: nmflow.solve(np.ones((32, 32)), 8, 16, "exhaustive"), ["10,000", "flow"]),
        (lambda: nmflow.solve(np.ones((8, 8)), 2, 4, "network simplex"), ["'network-simplex'"]),
    ],
)
def test_options_out_of_range(make_method, words):
    with pytest.raises(nmflow.NmflowError) as caught:
        make_method()
    for word in words:
        assert word in str(caught.value)


def test_methods_are_values():
    assert nmflow.Entropic(tau=80) == nmflow.Entropic()
    assert hash(nmflow.Entropic()) == hash(nmflow.Entropic())
    with pytest.raises(AttributeError):
        nmflow.Entropic().tau = 3.0
