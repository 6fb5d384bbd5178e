"""Proofs: what prices prove, to the last bit; and that optima are found where masks are none."""

import os
import subprocess
import sys
from fractions import Fraction

import cycle_cancelling
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import few_values, filled, finite
from tiles import KINDS, make, seeded

import nmflow
from nmflow.proof import ascent
from nmflow.proof.checker import Held, Prices, check, count_kept
from nmflow.proof.kept_sum import kept_sum
from nmflow.proof.labels import label
from nmflow.proof.prove import prove
from nmflow.proof.sums import exact_sum

odd_prices = st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e308, 2.0**1000, -0.0])
near_prices = st.sampled_from([0.0, 1.0, 2.0**-53, -(2.0**-60), 1 + 2.0**-52, -1.0, 0.5, 5e-324])


def is_proof(scores, mask, u, v, n, full):
    """Complementary slackness, word for word, in rational numbers."""
    if not np.isfinite([*u, *v]).all() or np.abs([*u, *v]).max() > 2.0**1000:
        return False
    for prices, held in ((u, mask.sum(axis=1)), (v, mask.sum(axis=0))):
        for price, count in zip(prices, held, strict=True):
            if count > n or (full and count < n):
                return False
            if not full and (price < 0 or (count < n and price > 0)):
                return False
    for (i, j), kept in np.ndenumerate(mask):
        margin = Fraction(float(scores[i, j])) - Fraction(float(u[i])) - Fraction(float(v[j]))
        if margin < 0 if kept else margin > 0:
            return False
    return True


def check_tile(scores, mask, u, v, n, full):
    prices = Prices(np.array(u, float).reshape(1, -1, 1), np.array(v, float).reshape(1, 1, -1))
    held = count_kept(mask[None], mask.shape)
    (((verdict,),),) = check(scores[None], mask[None], held, prices, n, full)
    return bool(verdict)


@settings(max_examples=400)
@given(st.data(), st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_what_prices_prove(data, full, dtype):
    """Scores at their price or a last bit beside it: where a rounded sum of prices would err."""
    rows, columns = data.draw(st.sampled_from([(1, 1), (2, 2), (1, 2), (3, 2)]))
    prices = st.one_of(near_prices, near_prices, near_prices, odd_prices)
    u = data.draw(filled((rows,), prices))
    v = data.draw(filled((columns,), prices))
    with np.errstate(all="ignore"):
        at_price = np.nan_to_num(u[:, None] + v[None], posinf=1, neginf=1).astype(dtype)
        steps = data.draw(filled((rows, columns), st.sampled_from([0, 0, 0, 0, 1, -1])))
        beside = np.nextafter(at_price, (np.inf * steps).astype(dtype))
    scores = np.where(steps == 0, at_price, beside)
    scores = np.nan_to_num(scores, posinf=1, neginf=1).astype(dtype)
    mask = data.draw(filled((rows, columns), st.booleans()))
    n = data.draw(st.integers(1, 2))
    expected = is_proof(scores, mask, u, v, n, full)
    assert check_tile(scores, mask, u, v, n, full) == expected


def test_what_a_rounded_sum_of_prices_loses():
    """1 + 2**-60 rounds to 1, and a kept score of 1 is below it; a pruned one is not above."""
    kept, pruned = np.ones((1, 1), bool), np.zeros((1, 1), bool)
    one = np.ones((1, 1))
    for tiny, expected in ((2.0**-60, False), (0.0, True), (-(2.0**-60), True)):
        assert check_tile(one, kept, [1.0], [tiny], 1, True) == expected
        assert check_tile(one, kept, [tiny], [1.0], 1, True) == expected
    both = np.eye(2, dtype=bool)
    scores = np.ones((2, 2))
    # On the diagonal u + v = 1; beside it 1 - 2**-60 and 1 + 2**-60, which round to 1.
    assert not check_tile(scores, both, [0.0, 2.0**-60], [1.0, 1 - 2.0**-53], 1, True)
    assert not check_tile(one, pruned, [1.0], [-(2.0**-60)], 1, False)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e308, -1e308])
def test_prices_that_are_no_numbers_prove_nothing(odd):
    scores, mask = np.ones((2, 2)), np.eye(2, dtype=bool)
    assert check_tile(scores, mask, [0.5, 0.5], [0.5, 0.5], 1, True)
    assert not check_tile(scores, mask, [odd, 0.5], [0.5, 0.5], 1, True)
    assert not check_tile(scores, mask, [0.5, 0.5], [0.5, odd], 1, True)
    # Two that cancel, or overflow, in their sum.
    assert not check_tile(scores, mask, [odd, odd], [-odd, -odd], 1, True)
    assert not check_tile(scores, np.zeros((1, 1), bool), [1e308], [1e308], 1, False)


def window_of(tiles, across=4):
    """Tiles as a window: two matrices, so many tiles in a row."""
    count, rows, columns = tiles.shape
    down = count // (2 * across)
    cut = tiles.reshape(2, down, across, rows, columns).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(cut).reshape(2, down * rows, across * columns)


def tiles_of(window, tile):
    b, r, c = window.shape
    cut = window.reshape(b, r // tile[0], tile[0], c // tile[1], tile[1])
    return cut.transpose(0, 1, 3, 2, 4).reshape(-1, *tile)


TYPES = {
    "float32": lambda tiles: tiles.astype(np.float32),
    "float64": lambda tiles: tiles,
    "int64": lambda tiles: np.clip(tiles * 2.0**57, -(2.0**62), 2.0**62).astype(np.int64) - 1,
    "uint64": lambda tiles: np.minimum(np.abs(tiles) * 2.0**57, 2.0**63).astype(np.uint64),
}
# Of so few digits that other types than float64 have them.
FRIENDLY = ["gaussian", "binary", "small integers", "mostly zero", "nearly equal rows", "zero"]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, "float64") for kind in KINDS]
    + [(kind, dtype) for kind in FRIENDLY for dtype in TYPES if dtype != "float64"],
)
@pytest.mark.parametrize(("n", "tile"), [(2, (4, 4)), (2, (3, 4)), (4, (8, 8)), (3, (5, 7))])
def test_proofs_against_cycle_cancelling(kind, n, tile, dtype):
    """Masks of every kind: which are optimal, and what their optimum is worth."""
    rng = seeded(kind, n, tile, dtype)
    full = tile[0] == tile[1]
    scores = TYPES[dtype](make(kind, rng, 48, *tile))
    mask = rng.random(scores.shape) < n / max(tile)
    best = cycle_cancelling.prove(scores[:24], mask[:24].copy(), n, full).optimum
    # The same optima, and those of slightly other scores: a single cycle away, or none.
    mask[:12] = best[:12]
    mask[12:24] = np.roll(best[12:24], 1, axis=0)
    expected = cycle_cancelling.prove(scores, mask.copy(), n, full)
    assert expected.proved.all()
    window, given_mask = window_of(scores), window_of(mask)
    held = count_kept(given_mask, tile)
    before = given_mask.copy()
    proof = prove(window, given_mask, held, n, full)
    assert (given_mask == before).all()
    found = tiles_of(proof.optimum, tile)
    same = (expected.optimum == mask).all(axis=(1, 2))
    assert (proof.optimal.ravel() == same).all()
    assert (found[same] == mask[same]).all()
    for values, ours, theirs in zip(scores, found, expected.optimum, strict=True):
        assert exact_sum(values[ours]) == exact_sum(values[theirs])
        held_lines = ours.sum(axis=0), ours.sum(axis=1)
        assert all(((h == n) if full else (h <= n)).all() for h in held_lines)


def corrupted(rng, mask, scores, n):
    """Tiles whose masks were optimal: other counts, another tile's mask, a cycle of four."""
    other = mask.copy()
    kind = rng.integers(0, 4, len(mask))
    size = mask.shape[1]
    for t in np.flatnonzero(kind == 0):
        i, j = rng.integers(0, size, 2)
        other[t, i, j] ^= True
    for t in np.flatnonzero(kind == 1):
        other[t] = mask[(t + 1) % len(mask)]
    for t in np.flatnonzero(kind >= 2):
        i, k = rng.choice(size, 2, replace=False)
        gains = np.flatnonzero(mask[t, i] & ~mask[t, k])
        losses = np.flatnonzero(mask[t, k] & ~mask[t, i])
        if gains.size and losses.size:
            j, x = rng.choice(gains), rng.choice(losses)
            other[t, [i, i, k, k], [j, x, j, x]] ^= True
    return other


@pytest.mark.parametrize("kind", ["float32", "small integers", "40 decades", "nearly equal rows"])
def test_corrupted_masks_are_found_out(kind):
    """10,000 of them: none is called optimal that is not, none that is isn't."""
    rng = seeded("corrupted", kind)
    n, m, count = 2, 4, 2560
    scores = make(kind, rng, count, m, m)
    best = cycle_cancelling.prove(scores, np.zeros(scores.shape, bool), n, True).optimum
    mask = corrupted(rng, best, scores, n)
    kept = [
        (int(h.min()), int(h.max()))
        for each in mask
        for h in [np.concatenate([each.sum(axis=0), each.sum(axis=1)])]
    ]
    due = np.array([pair == (n, n) for pair in kept])
    worth = [exact_sum(values[each]) for values, each in zip(scores, mask, strict=True)]
    most = [exact_sum(values[each]) for values, each in zip(scores, best, strict=True)]
    expected = due & np.array([a == b for a, b in zip(worth, most, strict=True)])
    assert 0 < expected.sum() < 0.6 * count
    window, given_mask = window_of(scores), window_of(mask)
    held = count_kept(given_mask, (m, m))
    proof = prove(window, given_mask, held, n, True)
    assert (proof.optimal.ravel() == expected).all()
    # With the right prices, those of a neighbour, and some that were changed a little.
    tiles = np.arange(count)
    prices = label(window, given_mask, held, tiles, n, True)
    for wrong in (
        Prices(np.roll(prices.rows, 1, axis=2), np.roll(prices.columns, m, axis=2)),
        Prices(np.nextafter(prices.rows, np.inf), prices.columns),
        Prices(prices.rows, prices.columns * (1 + 2.0**-30)),
        ascent.ascend(window, given_mask.copy(), held, tiles, n, True),
    ):
        verdict = check(window, given_mask, held, wrong, n, True).ravel()
        assert not (verdict & ~expected).any()


def test_labels_alone_prove_most_masks(rng):
    """Else every tile would be searched, which is right, and slow."""
    for n, m in ((2, 4), (4, 8)):
        weights = rng.standard_normal((8 * m, 16 * m)).astype(np.float32)
        mask, scores = nmflow.solve(weights, n, m)[None], np.abs(weights)[None]
        held = count_kept(mask, (m, m))
        prices = label(scores, mask, held, np.arange(128), n, True)
        assert check(scores, mask, held, prices, n, True).mean() > 0.98
        empty = np.zeros_like(mask)
        prices = ascent.ascend(scores, empty, held, np.arange(128), n, True)
        assert check(scores, empty, count_kept(empty, (m, m)), prices, n, True).mean() > 0.9


@pytest.mark.parametrize(("length", "n"), [(1, 0), (3, 1), (5, 2), (8, 4), (11, 6), (4, 4)])
def test_networks_find_the_wanted_ranks(length, n):
    """On all sequences of 0 and 1, which is enough (Knuth, vol. 3, sec. 5.3.4, theorem Z)."""
    bits = (np.arange(1 << length)[:, None] >> np.arange(length)) & 1
    wires = bits.copy()
    for above, below in ascent.comparators(length, n):
        pair = wires[:, [above, below]]
        wires[:, above], wires[:, below] = pair.max(axis=1), pair.min(axis=1)
    ranks = -np.sort(-bits, axis=1)
    for rank in {n - 1, n} & set(range(length)) if n < length else ():
        assert (wires[:, rank] == ranks[:, rank]).all()


@given(st.lists(st.tuples(st.one_of(finite, few_values), st.booleans()), min_size=1, max_size=40))
def test_sums_of_what_is_kept(entries):
    values = np.array([value for value, _ in entries])
    mask = np.array([kept for _, kept in entries])
    assert kept_sum(values.reshape(1, 1, -1), mask.reshape(1, 1, -1)) == exact_sum(values[mask])
    assert kept_sum(values.reshape(1, -1, 1), mask.reshape(1, -1, 1)) == exact_sum(values[mask])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_many_of_one_size(dtype, rng):
    """The most that leading parts can carry."""
    values = (2 - rng.random((2, 64, 96))).astype(dtype)
    mask = np.ones(values.shape, bool)
    assert kept_sum(values, mask) == exact_sum(values.ravel())


def test_workers_do_not_matter(rng):
    """Windows are certified in any order, and listed in their own."""
    weights = rng.standard_normal((2, 260, 522)).astype(np.float32)
    mask = nmflow.solve(weights, 2, 4, "greedy")
    one, two = (nmflow.certify(weights, mask, 2, 4, workers=k) for k in (1, 2))
    assert one == two
    assert len(one.violations) == 10
    places = [(v.matrix, v.tile, v.index) for v in one.violations]
    assert places == sorted(places)
    with pytest.raises(nmflow.NmflowError, match="workers"):
        nmflow.certify(weights, mask, 2, 4, workers=0)


INTERPRETED = """
import numpy as np, nmflow
rng = np.random.default_rng(0)
for weights in (rng.standard_normal((9, 12)), 10.0 ** rng.uniform(-18, 18, (8, 8))):
    for mask in (nmflow.solve(weights, 2, 4, "exhaustive"), weights > 0.5):
        print(repr(nmflow.certify(weights, mask, 2, 4)))
"""


def test_interpreted_it_says_the_same():
    said = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", INTERPRETED],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"NUMBA_DISABLE_JIT": disabled},
        ).stdout
        for disabled in ("0", "1")
    ]
    assert said[0] == said[1]
    assert said[0].count("Certificate") == 4


def test_the_oracle_is_right(rng):
    """Cycle cancelling itself, against augmenting paths."""
    scores = rng.integers(-3, 4, (40, 4, 4)).astype(float)
    for full in (True, False):
        found = cycle_cancelling.prove(scores, np.zeros(scores.shape, bool), 2, full).optimum
        for tile, mask in zip(scores, found, strict=True):
            best = oracle.by_augmentation(oracle.as_integers(tile), 2, full)
            assert oracle.exact_sum(tile, mask) == oracle.exact_sum(tile, best)


def test_shapes_say_how_a_window_is_cut():
    held = count_kept(np.ones((2, 6, 15), bool), (3, 5))
    assert held.tile == (3, 5)
    assert isinstance(held, Held)
    assert (held.rows == 5).all()
    assert (held.columns == 3).all()
