"""``flow``: exact masks by min-cost flow, ties broken by the fixed tables.

Three stages, each exact, each for what the one before could not prove:

1. Tiles of up to 32 x 32 are solved side by side in vectors, which proves nearly all of them:
   full ones by the SIMD engine (:mod:`nmflow.solvers.flow.simd_engine.kernel`), those of a ragged
   edge by dual ascent alone (:mod:`nmflow.solvers.flow.simd_engine.at_most.partial_tiles`).
2. The scalar fallback (:mod:`nmflow.solvers.flow.scalar.solve`), which starts from the potentials
   found so far, proves every tile but one whose optimal masks tie in all the tables. It also solves
   the first matrices of an n:m and dtype, until the engine's kernel is worth compiling
   (:mod:`nmflow.solvers.flow.tiers`).
3. Those few are solved in unbounded integers, with all tables and the position below the scores'
   last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import config
from numpy.typing import NDArray

from nmflow.problem.batch import MatrixBatch
from nmflow.problem.tiling import Window
from nmflow.solvers.flow.scalar.solve import solve_batch
from nmflow.solvers.flow.scalar.unbounded import solve_unbounded
from nmflow.solvers.integers import unique_integers

if TYPE_CHECKING:
    from nmflow.simd.tile_shape import TileShape
    from nmflow.solvers.flow.simd_engine.scratch import Unproved

LARGEST_SIMD_M = 32
"""The largest m whose tiles the SIMD engine solves."""
# Fewer partial tiles are solved one by one.
_FEW = 8
# Entries that are converted to float64 at a time.
_WINDOW = 1 << 20


def solve_window(
    batch: MatrixBatch, window: Window, mask: NDArray[np.bool_], n: int, _method: object, /
) -> None:
    """Masks of a window's tiles; see :class:`nmflow.solvers.interface.WindowSolver`."""
    m = window.tile[1]
    if not (window.full and n < m <= LARGEST_SIMD_M and not config.DISABLE_JIT):
        window.paste(mask, solve_tiles(window.cut(batch.scores(window.box)), n, window.full))
        return
    # The engine has no form that an interpreter could run.
    from nmflow.simd.tile_shape import tile_shape
    from nmflow.solvers.flow.simd_engine import driver
    from nmflow.solvers.flow.simd_engine.scratch import tiles_near_end

    shape = tile_shape(n, m)
    signed = batch.score == "raw"
    floats = batch.host.bfloat16 or batch.matrices.dtype.kind == "f"
    in_place = floats and driver.reads_in_place(batch.matrices, window.columns, m)
    if batch.score == "square" or not in_place:
        _solve_copied(batch, window, mask, n, shape, signed=signed)
        return
    of = batch.matrices.size
    if driver.is_spared(batch.matrices, mask, window.box, shape, signed, of):
        window.paste(mask, solve_tiles(window.cut(batch.scores(window.box)), n, True))
        return
    unproved = driver.solve_box(batch.matrices, mask, window.box, shape, signed)
    if unproved is None:
        batch.raise_not_finite()
    _solve_unproved(batch.matrices, mask, unproved, shape, n, batch.scores_of)
    near_end = tiles_near_end(batch.matrices, window.box, shape)
    if near_end:
        corner = window.last_tiles(near_end)
        _solve_copied(batch, corner, mask, n, shape, signed=signed)


def _solve_copied(
    batch: MatrixBatch,
    window: Window,
    mask: NDArray[np.bool_],
    n: int,
    shape: TileShape,
    *,
    signed: bool,
) -> None:
    """Masks of full tiles that the engine can't read where they lie."""
    tiles = window.cut(batch.scores(window.box))
    window.paste(mask, _solve_full(tiles, n, shape, signed=signed))


def _solve_full(
    tiles: NDArray[Any], n: int, shape: TileShape, *, signed: bool
) -> NDArray[np.bool_]:
    """Masks of full tiles (T, m, m), by the engine if they are floats."""
    from nmflow.solvers.flow.simd_engine import driver

    if tiles.dtype.kind != "f":
        return solve_tiles(tiles, n, True)
    values = driver.side_by_side(tiles, shape)
    count, m, _ = tiles.shape
    columns = -(-count // shape.tiles) * shape.tiles * m
    mask, box = np.empty(values.shape, np.bool_), (slice(0, 1), slice(0, m), slice(0, columns))
    if driver.is_spared(values, mask, box, shape, signed, tiles.size):
        return solve_tiles(tiles, n, True)
    unproved = driver.solve_box(values, mask, box, shape, signed)
    assert unproved is not None
    _solve_unproved(values, mask, unproved, shape, n, lambda part: part)
    return mask[0, :, : count * m].reshape(m, count, m).transpose(1, 0, 2)


def _solve_unproved(
    values: NDArray[Any],
    mask: NDArray[np.bool_],
    unproved: Unproved,
    shape: TileShape,
    n: int,
    as_scores: Any,
) -> None:
    """Solve what the engine left unproved, by the scalar fallback.

    Parameters
    ----------
    values, mask : ndarray, shape (B, R, C), C-contiguous
        The mask is written.
    unproved : Unproved
    as_scores : function
        From values (T, m, m) to their scores.
    """
    from nmflow.solvers.flow.simd_engine import driver

    if not unproved.position.size:
        return
    where = driver.entries(unproved, values.shape[2], shape)
    scores = as_scores(values.reshape(-1)[where])
    start = unproved.start.reshape(len(scores), shape.m)
    mask.reshape(-1)[where] = solve_tiles(scores, n, True, start=start)


def solve_tiles(
    scores: NDArray[Any],
    n: int,
    full: bool,
    _method: object = None,
    /,
    *,
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Optimal masks of a batch of equal tiles; see :class:`nmflow.solvers.interface.TileSolver`.

    ``start`` holds column potentials (T, c), in the scores' units, to start from; the masks do not
    depend on them.
    """
    return solve_capacitated(scores, (n, n), full, start)


def solve_capacitated(
    scores: NDArray[Any],
    n: tuple[int, int],
    full: bool,
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """As :func:`solve_tiles`, where rows hold n[0] of the scores (T, r, c) and columns n[1]."""
    if n[0] >= scores.shape[2] and n[1] >= scores.shape[1]:
        # The groups constrain nothing.
        return np.ones(scores.shape, np.bool_) if full else scores >= 0
    mask, proved = np.empty(scores.shape, np.bool_), np.empty(len(scores), np.bool_)
    # What comes with a start, the engine has tried.
    if start is None and _side_by_side(scores, n, full):
        start = np.zeros((len(scores), scores.shape[2]))
        _solve_partial_tiles(scores, n, mask, proved, start)
    else:
        solve_batch(scores, n, full, start, mask, proved)
    for t in np.flatnonzero(~proved):
        mask[t] = solve_unbounded(unique_integers(scores[t : t + 1])[0], n, full)
    return mask


def _side_by_side(scores: NDArray[Any], n: tuple[int, int], full: bool) -> bool:
    """Whether tiles are worth the SIMD engine's kernel for partial ones."""
    few = len(scores) < _FEW or max(scores.shape[1:]) > LARGEST_SIMD_M
    if full or few or n[0] != n[1] or scores.dtype.kind != "f" or config.DISABLE_JIT:
        return False
    from nmflow.solvers.flow.simd_engine.at_most.driver import spares_partial

    return not spares_partial(scores, n[0])


def _solve_partial_tiles(
    scores: NDArray[Any],
    n: tuple[int, int],
    mask: NDArray[np.bool_],
    proved: NDArray[np.bool_],
    start: NDArray[np.float64],
) -> None:
    """Masks of partial tiles by the SIMD engine, and by the scalar stage what that leaves."""
    from nmflow.solvers.flow.simd_engine.at_most.driver import solve_partial_tiles

    window = max(1, _WINDOW // scores[0].size)
    for first in range(0, len(scores), window):
        part = slice(first, first + window)
        values = scores[part].astype(np.float64, copy=False)
        solve_partial_tiles(values, n[0], mask[part], proved[part], start[part])
    unproved = np.flatnonzero(~proved)
    if unproved.size:
        rest = mask[unproved], proved[unproved]
        solve_batch(scores[unproved], n, False, start[unproved], *rest)
        mask[unproved], proved[unproved] = rest
