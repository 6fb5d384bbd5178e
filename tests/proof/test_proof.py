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
from nmflow.proof.checker import Prices, check
from nmflow.proof.kept_sum import KeptSums, kept_sum
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
    verdict = check(scores[None], mask[None], prices, mask.shape, (n, n), full)
    return bool(verdict.proved[0, 0, 0])


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
    assert not check_tile(scores[:1, :1], np.zeros((1, 1), bool), [1e308], [1e308], 1, False)


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
    before = given_mask.copy()
    proof = prove(window, False, given_mask, tile, (n, n), full)
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
    proof = prove(window, False, given_mask, (m, m), (n, n), True)
    assert (proof.optimal.ravel() == expected).all()
    # With the right prices, those of a neighbour, and some that were changed a little.
    prices = label(window, given_mask, (m, m), (n, n), True, np.float64)
    for wrong in (
        Prices(np.roll(prices.rows, 1, axis=2), np.roll(prices.columns, m, axis=2)),
        Prices(np.nextafter(prices.rows, np.inf), prices.columns),
        Prices(prices.rows, prices.columns * (1 + 2.0**-30)),
        ascent.ascend(window, given_mask.copy(), (m, m), (n, n), True),
    ):
        verdict = check(window, given_mask, wrong, (m, m), (n, n), True).proved.ravel()
        assert not (verdict & ~expected).any()


def test_labels_alone_prove_most_masks(rng):
    """Else every tile would be searched, which is right, and slow."""
    for n, m in ((2, 4), (4, 8)):
        weights = rng.standard_normal((8 * m, 16 * m)).astype(np.float32)
        mask, scores = nmflow.solve(weights, n, m)[None], np.abs(weights)[None]
        prices = label(scores, mask, (m, m), (n, n), True, np.float64)
        assert check(scores, mask, prices, (m, m), (n, n), True).proved.mean() > 0.98
        empty = np.zeros_like(mask)
        prices = ascent.ascend(scores, empty, (m, m), (n, n), True)
        assert check(scores, empty, prices, (m, m), (n, n), True).proved.mean() > 0.9


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


wide_floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
near_one = st.integers(0, 2**24).map(lambda digits: digits * 2.0**-23)


@settings(max_examples=300)
@given(st.data(), st.booleans(), st.sampled_from([wide_floats, near_one, near_one]))
def test_sums_of_one_pass_are_exact_or_none(data, unsigned, numbers):
    """Of scores of one size, and of scores that 53 bits can't hold side by side."""
    shape = data.draw(st.sampled_from([(1, 4, 4), (2, 8, 4), (1, 1, 5)]))
    scale = 2.0 ** data.draw(st.sampled_from([-120, -20, 0, 100]))
    wide = np.array(data.draw(filled(shape, numbers)))
    wide[:, 1:] *= scale
    # Sums that come back to little have been large on their way.
    wide[:, ::3] *= -1
    values = np.where(abs(wide) < 2.0**127, wide, 1).astype(np.float32)
    mask = data.draw(filled(shape, st.booleans()))
    kept = KeptSums.of(values, unsigned)
    check(values, mask, None, shape[1:], (2, 2), True, kept)
    scores = np.abs(values) if unsigned else values
    assert kept.finite
    assert kept.total() in (None, exact_sum(scores[mask]))


@pytest.mark.parametrize(
    ("rows", "last", "unsigned", "fits"),
    [
        # The last digit of 2**-6 is worth 2**-29, of which 53 bits hold fewer than 2**24.
        (2, -6, True, True),
        (2, -7, True, False),
        # Four of less than 2**23 are less than 2**25, whatever their signs.
        (4, -5, False, True),
        (4, -6, False, False),
    ],
)
def test_sums_of_one_pass_end_where_a_float_does(rows, last, unsigned, fits):
    values = np.full((1, rows + 1, 4), 2.0**23 - 1, np.float32)
    values[0, -1] = 2.0**last
    values = values if unsigned or rows == 2 else values[:, 1:]
    kept = KeptSums.of(values, unsigned)
    check(values, np.ones(values.shape, bool), None, (1, 4), (2, 2), True, kept)
    assert kept.total() == (exact_sum(values) if fits else None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_pass_sees_what_is_not_finite(dtype, odd):
    for kept in (True, False):
        values = np.ones((1, 4, 8), dtype)
        values[0, 2, 5] = odd
        found = KeptSums.of(values, True)
        check(values, np.full(values.shape, kept), None, (4, 4), (2, 2), True, found)
        assert not found.finite


def test_without_prices_nothing_is_proved():
    """Counts alone prove nothing, whatever lies in memory."""
    weights = np.ones((64, 64), np.float32)
    mask = nmflow.solve(weights, 2, 4)[None]
    due, proved = check(weights[None], mask, None, (4, 4), (2, 2), True)
    assert due.all()
    assert not proved.any()


@pytest.mark.parametrize("tile", [(4, 4), (8, 8), (3, 5), (2, 12), (5, 260), (300, 6), (1, 1)])
@pytest.mark.parametrize("full", [True, False])
def test_what_tiles_hold(tile, full, rng):
    """Counted one by one, tiles too wide for a byte among them; any byte but 0 is True."""
    mask = rng.random((2, 3 * tile[0], 2 * tile[1])) < 0.5
    n = max(tile) - 1
    cut = mask.reshape(2, 3, tile[0], 2, tile[1]).swapaxes(2, 3)
    # Some tiles hold n exactly, but for one entry.
    cut[:, 0] = (np.add.outer(np.arange(tile[0]), np.arange(tile[1])) % max(tile)) < n
    cut[0, 0, 1, 0, -1] ^= True
    lines = np.concatenate([cut.sum(axis=4), cut.sum(axis=3)], axis=-1)
    expected = ((lines == n) if full else (lines <= n)).all(axis=-1)
    for byte in (1, 2, 255):
        odd = (mask * np.uint8(byte)).view(np.bool_)
        found = check(np.zeros(mask.shape), odd, None, tile, (n, n), full)
        assert (found.due == expected).all()


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
