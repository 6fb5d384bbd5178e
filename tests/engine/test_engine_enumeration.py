"""The best of all masks of a 4 x 4 tile is taken only where rounding can't have chosen it."""

import itertools

import numpy as np
import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from test_engine import cut, seeded

import nmflow
from nmflow.compiling.jit import compile_kernel
from nmflow.simd.enumeration import best_of_strip
from nmflow.simd.tile_shape import tile_shape
from nmflow.simd.vectors import store
from nmflow.solvers.flow.method import solve_tiles
from nmflow.solvers.flow.simd_engine.strips import aligned


@pytest.mark.parametrize(("n", "score"), [(1, "abs"), (2, "abs"), (3, "abs"), (2, "raw")])
def test_near_ties(n, score, rng):
    """Sums apart by about as much as the 13 bits of each entry drop: some more, some less."""
    for bits in range(8, 17):
        noise = rng.standard_normal((64, 512)) * 2.0**-bits
        weights = (0.6 + noise).astype(np.float32)
        if score == "raw":
            weights -= np.float32(1.2) * (rng.random(weights.shape) < 0.5)
        expected = nmflow.solve(weights, n, 4, "exhaustive", score=score)
        np.testing.assert_array_equal(nmflow.solve(weights, n, 4, score=score), expected)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("lead", [0.96, 0.02])
def test_all_that_rounding_can_hide(n, lead):
    """A cycle whose four entries all stand for nearly a unit more than they count."""
    units = np.zeros((4, 4))
    diagonal = np.arange(4)
    beside, always = (diagonal + 1) % 4, (diagonal + 2) % 4
    units[diagonal, diagonal] = [6501, 6500, 6500, 6500]
    units[diagonal, beside] = np.array([6499, 6499, 6500, 6500]) + (3 + lead) / 4
    if n == 2:
        units[diagonal, always] = 8190
    if n == 3:
        units = np.where(units > 0, 8192 - units, 8191)
        units[diagonal, beside] -= lead
    tiles = np.tile((units * 2.0**-13).astype(np.float32), (8, 32))
    mask = nmflow.solve(tiles, n, 4)
    np.testing.assert_array_equal(mask, nmflow.solve(tiles, n, 4, "exhaustive"))
    assert mask[diagonal, beside].all() == (n < 3)


@compile_kernel
def _best_of_strip(strip, shape, lead, bits):
    found = best_of_strip(strip, shape)
    store(lead, 0, found[0])
    store(bits, 0, found[1])


def all_masks(n):
    """Every mask of 4 x 4 with n in each row and column, (K, 4, 4)."""
    rows = [row for row in itertools.product((0, 1), repeat=4) if sum(row) == n]
    masks = np.array(list(itertools.product(rows, repeat=4)))
    return masks[(masks.sum(axis=1) == n).all(axis=1)]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("spread", [1, 3, 1000, 1 << 28])
def test_leads_are_exact(n, spread):
    """Of scores up to 29 bits with their sign, against all masks one by one."""
    rng, masks, shape = seeded("strip", n, spread), all_masks(n), tile_shape(n, 4)
    strip, lead, bits = (aligned(size, np.int32) for size in (64, 4, 4))
    for _ in range(200):
        tiles = rng.integers(-spread, spread, (4, 4, 4))
        strip[:] = tiles.transpose(1, 0, 2).ravel()
        _best_of_strip(strip, shape, lead, bits)
        for tile, margin, word in zip(tiles, lead, bits, strict=True):
            sums = (masks * tile).sum(axis=(1, 2))
            least, most = np.sort(sums)[-2:]
            assert margin == most - least
            if margin > 0:
                mask = word >> np.arange(16).reshape(4, 4) & 1
                np.testing.assert_array_equal(mask, masks[sums.argmax()])


@pytest.mark.parametrize(("n", "score"), [(1, "abs"), (2, "abs"), (3, "abs"), (2, "raw")])
@pytest.mark.parametrize("bits", [1, 2, 5, 11, 13, 14])
def test_few_digits(n, score, bits):
    """Tied and nearly tied sums, of so many digits that a table fits below them, or does not."""
    rng = seeded("digits", n, score, bits)
    least = -(1 << bits) if score == "raw" else 0
    weights = rng.integers(least, 1 << bits, (128, 256)).astype(np.float32)
    scores = weights if score == "raw" else np.abs(weights)
    expected = solve_tiles(cut(scores, 4).astype(np.float64), n, True)
    mask = nmflow.solve(weights, n, 4, score=score)
    np.testing.assert_array_equal(cut(mask, 4), expected)
