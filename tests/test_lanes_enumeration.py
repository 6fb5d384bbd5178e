"""The best of all masks of a 4 x 4 tile is taken only where rounding can't have chosen it."""

import numpy as np
import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

import nmflow


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
