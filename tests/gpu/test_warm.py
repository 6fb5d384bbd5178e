"""Kernels that start from the potentials of the last solve: the same masks, in fewer rounds."""

import sys
from pathlib import Path

import numpy as np
import pytest
from samples import side_by_side, tiles_of_every_kind

import nmflow

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.gpu import host_kernels
from benchmarks.gpu.counting import count, gaussian

pytestmark = pytest.mark.skipif(host_kernels.compiler() is None, reason="no C++ compiler")


def solve(weights, n, m, warm, signed=False):
    return host_kernels.solve_each([weights], n, m, signed=signed, warm=[warm])


def check_moving_weights(n, m, each, across, signed=False):
    """Masks of every kind of tile as weights move: little, by powers of two, and to others."""
    tiles = tiles_of_every_kind(n, m, np.float32, each)
    weights = side_by_side(np.clip(tiles, -1e30, 1e30).astype(np.float32), across)[
        None, :, : -m // 2
    ]
    random = np.random.default_rng(0)
    score = "raw" if signed else "abs"
    warm = host_kernels.no_potentials(weights.shape, m)
    for scale, moved in [(1, 0), (1, 1e-3), (2.0**-20, 1e-2), (2.0**9, 0), (1, 1)]:
        weights = weights * np.float32(scale)
        weights *= 1 + np.float32(moved) * random.standard_normal(weights.shape).astype(np.float32)
        found = solve(weights, n, m, warm, signed)
        assert np.array_equal(found.masks[0], nmflow.solve(weights, n, m, score=score)), scale
    junk = random.integers(-(2**31), 2**31, warm.shape, dtype=np.int64).astype(np.int32)
    assert np.array_equal(
        solve(weights, n, m, junk, signed).masks[0], nmflow.solve(weights, n, m, score=score)
    )


def test_masks_are_the_engines_whatever_was_left():
    check_moving_weights(4, 8, each=6, across=12)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(2, 8), (5, 8), (8, 16), (16, 32), (1, 3), (7, 11)])
@pytest.mark.parametrize("signed", [False, True])
def test_masks_of_other_patterns_whatever_was_left(n, m, signed):
    check_moving_weights(n, m, each=30, across=30, signed=signed)


@pytest.mark.parametrize("side", ["u", "v"])
def test_potentials_out_of_range_prove_nothing(side):
    """Such as would keep the least scores, were they added modulo 2**16."""
    scores = np.random.default_rng(0).permuted(np.arange(64 * 64) * 2).reshape(1, 64, 64)
    weights, least = ((each + 0.5).astype(np.float32) / 8192 for each in (scores, 8191 - scores))
    warm = host_kernels.no_potentials(weights.shape, 8)
    kept_least = solve(least, 4, 8, warm).masks[0]
    words = warm[: 64 * 8].view(np.int16).reshape(-1, 2)
    words *= -1
    words[:, "uv".index(side)] += np.int16(8190 - 32768)
    mask = solve(weights, 4, 8, warm).masks[0]
    assert np.array_equal(mask, nmflow.solve(weights, 4, 8))
    assert not np.array_equal(mask, kept_least)


@pytest.mark.parametrize("signed", [False, True])
def test_few_rounds_are_needed_where_little_moved(signed):
    weights = gaussian(256)
    moves = np.random.default_rng(1).standard_normal(weights.shape).astype(np.float32)
    cold = count(4, 8, weights, signed=signed)
    rounds = [
        count(4, 8, weights + np.float32(share) * moves, weights, signed)["rounds"] / cold["rounds"]
        for share in (0, 1e-3, 1e-1)
    ]
    assert rounds[0] < 0.15
    assert rounds[1] < 0.3
    assert rounds[0] < rounds[1] < rounds[2] < 1


def test_what_is_left_is_read_in_the_units_of_now():
    """Where tiles' largest entries pass a power of two, potentials are shifted with it."""
    weights = gaussian(128)
    tiles = weights.reshape(16, 8, 16, 8)
    largest = np.abs(tiles).max((1, 3), keepdims=True)
    before = (tiles / largest * np.float32(1.9995)).reshape(128, 128)
    after = before * np.float32(1.001)
    for moved, start in [(after, before), (before, after)]:
        rounds = count(4, 8, moved, start)["rounds"]
        assert rounds < 0.3 * count(4, 8, moved)["rounds"]
