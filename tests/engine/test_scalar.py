"""The compiled scalar fallback of ``flow``: its mask is the contract's from any start."""

import zlib
from fractions import Fraction

import numpy as np
import oracle
import pytest
from tiles import KINDS, PATTERNS, make

from nmflow.problem import ties
from nmflow.solvers.flow import method as flow
from nmflow.solvers.flow.scalar import digits as scalar_digits
from nmflow.solvers.flow.scalar import kernel
from nmflow.solvers.flow.scalar import solve as scalar
from nmflow.solvers.flow.scalar.bits import score_bits
from nmflow.solvers.flow.scalar.selection_network import order, selection_network
from nmflow.solvers.flow.scalar.unbounded import solve_unbounded
from nmflow.solvers.integers import unique_integers


def seeded(*key):
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def shapes(n, m):
    """Full and partial shapes that n constrains."""
    sides = {(m, m), (m, m - 1), (m - 1, m), (m - 1, m - 1), (m, m // 2), (1, m), (m, 1)}
    return sorted(shape for shape in sides if n < max(shape) and min(shape) > 0)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A few tiles are enough for everything."""
    monkeypatch.setattr(scalar, "_FEW", 0)


def solve(scores, n, full, start=None):
    """Masks and which are proved, compiled."""
    mask, proved = np.zeros(scores.shape, bool), np.zeros(len(scores), bool)
    scalar.solve_batch(scores, (n, n), full, start, mask, proved)
    return mask, proved


def starts(rng, scores):
    """Column potentials that a caller may come with: near, far, and nonsense."""
    count, _, columns = scores.shape
    largest = np.abs(scores).max(axis=(1, 2))[:, None]
    shape = (count, columns)
    yield np.zeros(shape)
    yield np.quantile(scores, 0.5, axis=1) / 2
    yield rng.uniform(-1, 1, shape) * largest
    yield rng.uniform(0, 1, shape) * np.minimum(largest, 1e300) * 100
    yield rng.choice([1.7e308, -1.7e308, 5e-324, 0.0], shape)
    yield rng.choice([np.nan, np.inf, -np.inf, 1.0], shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_the_mask_does_not_depend_on_the_start(kind, n, m):
    rng = seeded(kind, n, m)
    count = max(1, 16 // m)
    for rows, columns in shapes(n, m):
        full = rows == columns == m
        scores = make(kind, rng, count, rows, columns)
        if rng.random() < 0.5:
            scores *= rng.choice([-1, 1], scores.shape)
        expected = [solve_unbounded(q, (n, n), full) for q in unique_integers(scores)]
        for start in starts(rng, scores):
            mask, proved = solve(scores, n, full, start)
            assert proved.all()
            np.testing.assert_array_equal(mask, expected, err_msg=f"{rows} x {columns}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), [(1, 4), (3, 4), (4, 8), (5, 7)])
def test_partial_tiles_have_the_mask_of_the_contract(kind, n, m):
    rng = seeded(kind, n, m, "partial")
    for rows, columns in shapes(n, m):
        if rows == columns == m:
            continue
        scores = make(kind, rng, 2, rows, columns)
        scores[1] *= rng.choice([-1, 1], (rows, columns))
        masks, proved = solve(scores, n, False)
        assert proved.all()
        for tile, mask in zip(scores, masks, strict=True):
            expected = oracle.by_augmentation(oracle.with_tie_rule(tile), n, False)
            np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_interpreted_it_does_the_same(kind, monkeypatch):
    """numba compiles what Python would do: no overflow, no negative index, no rounding."""
    rng = seeded(kind, "interpreted")
    interpreted = getattr(kernel.solve_units, "py_func", kernel.solve_units)
    for n, rows, columns in [(2, 4, 4), (4, 8, 8), (4, 8, 7), (4, 5, 8), (3, 7, 2)]:
        full = rows == columns
        scores = make(kind, rng, 2, rows, columns) * rng.choice([-1, 1], (2, rows, columns))
        for start in (None, rng.standard_normal((2, columns))):
            compiled = solve(scores, n, full, start)
            with monkeypatch.context() as patched:
                patched.setattr(scalar, "run_sparingly", lambda _, args, __: interpreted(*args))
                for found, expected in zip(solve(scores, n, full, start), compiled, strict=True):
                    np.testing.assert_array_equal(found, expected)


def test_no_float_needs_unbounded_integers(monkeypatch, rng):
    monkeypatch.setattr(flow, "solve_unbounded", None)
    for kind in KINDS:
        for n, m in ((2, 4), (4, 8), (8, 16)):
            for rows in (m, m - 1):
                # So few at a time that partial ones aren't solved side by side.
                for tiles in np.split(make(kind, rng, 8, rows, m), 2):
                    flow.solve_tiles(tiles, n, rows == m)


def test_a_batch_is_converted_window_by_window(monkeypatch, rng):
    scores = rng.standard_normal((23, 4, 4)).astype(np.float32)
    whole = flow.solve_tiles(scores.copy(), 2, True)
    monkeypatch.setattr(scalar, "_WINDOW", 5 * 16)
    np.testing.assert_array_equal(flow.solve_tiles(scores.copy(), 2, True), whole)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 7)])
def test_tables_never_outweigh_a_score(n, m, rng):
    """Tables go into bits that the scores leave free, be they many or just too few."""
    for exponent in range(54):
        scores = rng.choice([0, 1, 2.0**exponent], (4, m, m))
        scores[:, 0, 0] = 2.0**exponent
        expected = [solve_unbounded(q, (n, n), True) for q in unique_integers(scores)]
        np.testing.assert_array_equal(solve(scores, n, True)[0], expected)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_of_64_bits(dtype, rng):
    limits = np.iinfo(dtype)
    batches = [
        rng.integers(limits.min, limits.max, (6, 6, 6), dtype, endpoint=True),
        rng.choice(np.array([limits.min, limits.max, limits.max - 1, 1], dtype), (6, 6, 6)),
        rng.integers(0, 3, (6, 6, 6)).astype(dtype) << dtype(61),
        # Apart by one bit only, which the leading digits may or may not hold.
        *(rng.choice(np.array([2**62, 2**62 + 2**low], dtype), (2, 6, 6)) for low in range(24)),
    ]
    for scores in batches:
        for rows, n in ((6, 3), (5, 2), (2, 3)):
            full = rows == 6
            part = np.ascontiguousarray(scores[:, :rows])
            expected = [solve_unbounded(q, (n, n), full) for q in unique_integers(part)]
            np.testing.assert_array_equal(flow.solve_tiles(part, n, full), expected)


@pytest.mark.parametrize("sign", [-1, 1])
def test_scores_that_scaling_makes_zero(sign, rng):
    """Beside huge ones they are below one unit, and yet a loss or a gain."""
    for rows in (3, 2):
        tiles = np.zeros((60, rows, 3))
        tiny = rng.random(tiles.shape) < 0.5
        tiles[tiny] = sign * 5e-324 * rng.integers(1, 5, np.count_nonzero(tiny))
        tiles[:, 0, 0] = 1e300
        found = flow.solve_tiles(tiles, 1, rows == 3)
        for tile, mask in zip(tiles, found, strict=True):
            np.testing.assert_array_equal(mask, oracle.by_enumeration(tile, 1, rows == 3))


def test_networks_select(rng):
    for rows, columns in [(2, 3), (4, 4), (7, 5), (8, 1), (16, 15), (33, 32)]:
        for n in {1, 2, rows // 2, rows - 1}:
            capacities = max(n - 1, 1), n
            for length, held in zip((rows, columns), capacities, strict=True):
                network = selection_network(length, held)
                wires = rng.integers(0, 2 * length, (length, 50))
                expected = -np.sort(-wires, axis=0)
                order(wires.reshape(-1), 50, network, network.size // 2)
                if held < length:
                    np.testing.assert_array_equal(wires[held - 1], expected[held - 1])
                    np.testing.assert_array_equal(wires[held], expected[held])


@pytest.mark.parametrize("kind", KINDS)
def test_digits_are_all_of_a_score(kind):
    rng = seeded(kind, "digits")
    scores = make(kind, rng, 1, 3, 5)[0] * rng.choice([-1, 1], (3, 5))
    bits = score_bits(3, 5)
    found = scalar_digits.leading_digits(scores[None], bits)
    q, exponent, exact = found.q[0], int(found.exponent[0]), bool(found.exact[0])
    assert np.abs(q).max() <= 2**bits
    assert np.abs(q).max() >= 2 ** (bits - 1) or not scores.any()
    value = [int(units) for units in q.flat]
    while True:
        unit = Fraction(2) ** exponent
        whole = [Fraction(score) * unit for score in scores.ravel().tolist()]
        assert value == [score // 1 for score in whole]
        assert exact == (value == whole)
        if exact:
            break
        exponent += 40
        low, more = scalar_digits.next_digits(scores.ravel(), np.int64(exponent), 40)
        value = [(high << 40) + int(digit) for high, digit in zip(value, low, strict=True)]
        exact = not more.any()


def test_ties_are_decided_by_the_tables_of_the_contract():
    # Wide tiles, where integers might wrap: a tile of zeros is decided by the tables alone.
    mask, _ = solve(np.zeros((1, 40, 40)), 20, True)
    total = sum(ties.table(0, 40, 40)[mask[0]])
    other = solve_unbounded(ties.table(0, 40, 40).astype(object), (20, 20), True)
    assert total == sum(ties.table(0, 40, 40)[other])


@pytest.mark.parametrize("free", [15, 29])
def test_each_goes_on_with_its_next_table(free):
    """Low bits of scores have room for a table, or two, and that doesn't decide all tiles."""
    scores = np.full((1, 32, 32), 2.0**free)
    scores[:, 0, 0] = 2.0**45
    for n in (5, 11, 16, 20):
        masks, proved = solve(scores, n, True)
        assert proved.all()
        expected = solve_unbounded(unique_integers(scores)[0], (n, n), True)
        np.testing.assert_array_equal(masks[0], expected)


def test_tiles_of_a_batch_are_apart(rng, monkeypatch):
    """Some are proved at once, some take more digits, and some one table, or two, or all."""
    exact = rng.integers(0, 2, (5, 8, 8)) * 2.0 ** np.array([0, 10, 20, 30, 40])[:, None, None]
    exact[:, 0, 0] = 2.0**45
    wide = rng.integers(1, 4, (3, 8, 8)) * 10.0 ** rng.integers(-30, 30, (3, 8, 8))
    close = 1 + rng.integers(0, 3, (3, 8, 8)) * 2.0**-52
    scores = np.concatenate(
        [exact, wide, rng.standard_normal((3, 8, 8)), close, np.zeros((1, 8, 8))]
    )
    scores = scores[rng.permutation(len(scores))]
    for full, part in ((True, scores), (False, scores[:, :7])):
        masks, proved = solve(part, 4, full)
        assert proved.all()
        for tile, mask in zip(part, masks, strict=True):
            alone, _ = solve(tile[None], 4, full)
            np.testing.assert_array_equal(mask, alone[0])
            expected = solve_unbounded(unique_integers(tile[None])[0], (4, 4), full)
            np.testing.assert_array_equal(mask, expected)
        with monkeypatch.context() as patched:
            patched.setattr(scalar, "_FEW", 100)
            np.testing.assert_array_equal(solve(part, 4, full)[0], masks)
