"""The best masks of 4 x 4 tiles within what is allowed are so whatever rounding has hidden."""

import itertools

import numpy as np
import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from nmflow.compiling.jit import compile_kernel
from nmflow.simd.enumeration_within import NARROW, WIDE, best_within, best_within_strip
from nmflow.simd.tile_shape import tile_shape
from nmflow.simd.vectors import store
from nmflow.solvers.flow.simd_engine.strips import aligned

SHAPE = tile_shape(2, 4)


def all_masks():
    """The masks of at most two in each row and column, (masks, 16)."""
    rows = [row for row in itertools.product((0, 1), repeat=4) if sum(row) <= 2]
    masks = np.array(list(itertools.product(rows, repeat=4)))
    return masks[(masks.sum(axis=1) <= 2).all(axis=1)].reshape(-1, 16).astype(bool)


MASKS = all_masks()


@compile_kernel
def _narrow(lanes, fills, shape, found):
    proved, kept, to_fill = best_within(lanes, fills, shape)
    store(found, 0, proved)
    store(found, 32, kept)
    store(found, 64, to_fill)


@compile_kernel
def _wide(strip, fills, shape, proved, kept, to_fill):
    of_strip = best_within_strip(strip, fills, shape)
    store(proved, 0, of_strip[0])
    store(kept, 0, of_strip[1])
    store(to_fill, 0, of_strip[2])


def narrow(scores, fills):
    """What is proved, the bits of the masks, and what was to be filled, of 32 tiles (32, 16)."""
    lanes, found = aligned(4 * 5 * 32, np.int16), aligned(3 * 32, np.int16)
    lanes.reshape(4, 5, 32)[:, :4] = scores.T.reshape(4, 4, 32)
    _narrow(lanes, fills, SHAPE, found)
    return found.reshape(3, 32)


def wide(scores, fills):
    """As :func:`narrow`, of four tiles at a time."""
    results = []
    for tiles in scores.reshape(8, 4, 4, 4):
        strip, found = aligned(64, np.int32), [aligned(16, np.int32) for _ in range(3)]
        strip[:] = tiles.transpose(1, 0, 2).ravel()
        _wide(strip, fills, SHAPE, *found)
        results.append([part[:4] for part in found])
    return np.concatenate(results, axis=1)


def tiles_of(rng, kind, most):
    """Scores of 32 tiles, and less than 0 for what may not be kept."""
    scores = rng.integers(0, most, (32, 16))
    if kind == "near ties":
        scores = most // 2 + rng.integers(0, most >> 8, (32, 16))
    elif kind == "ties":
        scores = most // 8 * rng.integers(0, 3, (32, 16))
    allowed = rng.random((32, 16)) < rng.random((32, 1))
    return np.where(allowed, scores, -1 - rng.integers(0, 2, (32, 1)) * scores)


@pytest.mark.parametrize("fills", [False, True])
@pytest.mark.parametrize("kind", ["even", "near ties", "ties"])
@pytest.mark.parametrize(
    ("enumerate_tiles", "form", "bits"), [(narrow, NARROW, 14), (wide, WIDE, 29)]
)
def test_what_is_proved_is_the_best_of_all(enumerate_tiles, form, bits, kind, fills, rng):
    count = 0
    for _ in range(40):
        scores = tiles_of(rng, kind, 1 << bits)
        # A score is less than these units, and no more than one less.
        units = np.where(scores >= 0, (scores >> form.dropped) + 1, 0)
        for tile, allowed, proved, kept, to_fill in zip(
            units, scores >= 0, *enumerate_tiles(scores, fills), strict=True
        ):
            possible = MASKS[~(MASKS & ~allowed).any(axis=1)]
            filled = possible.sum(axis=1) == 8
            if form is WIDE:
                assert (to_fill != 0) == (fills and filled.any())
            elif not to_fill:
                assert not (fills and filled.any())
            if not proved:
                continue
            count += 1
            mask = (int(kept) >> np.arange(16) & 1).astype(bool)
            assert (possible == mask).all(axis=1).any()
            rivals = possible[filled] if fills and filled.any() else possible
            assert mask.sum() == 8 or rivals is possible
            lacking = (mask & ~rivals).sum(axis=1)
            assert ((rivals & ~mask) @ tile <= (mask & ~rivals) @ tile - lacking).all()
    assert count > {"even": 1240, "near ties": 300, "ties": 80}[kind]
