"""What the SIMD engine takes for a proof, whatever the potentials."""

import numpy as np
import pytest
from numba import config

if config.DISABLE_JIT:
    pytest.skip("the engine needs the compiler", allow_module_level=True)

from test_engine import seeded

from nmflow.compiling.jit import compile_kernel
from nmflow.simd.tile_shape import LANES, tile_shape
from nmflow.simd.vectors import store
from nmflow.solvers.flow.simd_engine.dual_ascent import threshold
from nmflow.solvers.flow.simd_engine.tile_batch import new_tile_batch


@compile_kernel
def _threshold(lanes, u, v, bits, words, shape, proved):
    store(proved, 0, threshold(lanes, u, v, bits, words, shape))


def proved(scores, u, v, n):
    """Of tiles (32, m, m) with potentials (32, m)."""
    m = scores.shape[1]
    shape = tile_shape(n, m)
    batch = new_tile_batch(shape)
    batch.lanes.reshape(m, m + 1, LANES)[:, :m] = scores.transpose(1, 2, 0)
    batch.u[:], batch.v[:] = u.T.ravel(), v.T.ravel()
    _threshold(batch.lanes, batch.u, batch.v, batch.bits, batch.words, shape, batch.proved)
    assert set(batch.proved) <= {0, -1}
    return batch.proved == -1


def circulant(rng, n, m):
    """A mask of n in each row and column."""
    mask = (np.arange(m)[:, None] + np.arange(m)) % m < n
    return mask[rng.permutation(m)][:, rng.permutation(m)]


# Each is compiled.
SHAPES = [(2, 4), (3, 7), (4, 8), (1, 8), (7, 8), (8, 16), (31, 32)]


@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_rows_and_columns_are_counted(n, m):
    rng = seeded("count", n, m)
    kept = np.array([circulant(rng, n, m) for _ in range(LANES)])
    # In turn: a mask as it should be; an entry elsewhere in its row; or in its column; one less;
    # one more.
    for lane in range(LANES):
        i, j = np.argwhere(kept[lane])[rng.integers(n * m)]
        rows, columns = np.flatnonzero(~kept[lane, :, j]), np.flatnonzero(~kept[lane, i])
        kept[lane, i, j] = lane % 5 in (0, 4)
        if lane % 5 == 1:
            kept[lane, i, rng.choice(columns)] = True
        elif lane % 5 == 2:
            kept[lane, rng.choice(rows), j] = True
        elif lane % 5 == 4:
            kept[lane, i, rng.choice(columns)] = True
    u, v = rng.integers(-9000, 9000, (2, LANES, m))
    reduced = np.where(kept, rng.integers(1, 9000, kept.shape), -rng.integers(0, 9000, kept.shape))
    scores = u[:, :, None] + v[:, None] + reduced
    np.testing.assert_array_equal(proved(scores, u, v, n), np.arange(LANES) % 5 == 0)
