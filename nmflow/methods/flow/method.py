"""``flow``: exact masks by min-cost flow, ties broken by the fixed tables.

Three roads, each exact, each for what the one before could not prove:

1. Tiles of up to 32 x 32 are solved side by side in vectors, which settles nearly all of them:
   full ones by the lane engine (:mod:`nmflow.methods.flow.simd_engine.kernel`), those of a ragged edge by
   dual ascent alone (:mod:`nmflow.methods.flow.simd_engine.partial_tiles`).
2. The scalar kernel (:mod:`nmflow.methods.flow.scalar.solve`), which starts from the potentials
   found so far, settles every tile but one whose optimal masks tie in all the tables.
3. Those few are solved in unbounded integers, with all tables and the position below the scores'
   last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import config
from numpy.typing import NDArray

from nmflow.methods.flow.scalar.solve import floored, settle_batch, settle_integers
from nmflow.methods.flow.scalar.unbounded import solve_unbounded
from nmflow.methods.integers import unique_integers
from nmflow.problem.batch import MatrixStack
from nmflow.problem.tiling import Window

if TYPE_CHECKING:
    from nmflow.methods.flow.simd_engine.driver import Left
    from nmflow.simd.tile_shape import TileShape

LARGEST_LANES = 32
"""The largest m whose tiles the lane engine solves."""
# Fewer partial tiles are solved one by one.
_FEW = 8
# Entries that are converted to float64 at a time.
_WINDOW = 1 << 20


def solve_window(
    stack: MatrixStack, window: Window, mask: NDArray[np.bool_], n: int, _method: object, /
) -> None:
    """Masks of a window's tiles; see :class:`nmflow.methods.registry.WindowSolver`."""
    m = window.tile[1]
    if not (window.full and n < m <= LARGEST_LANES and not config.DISABLE_JIT):
        window.paste(mask, solve_tiles(window.cut(stack.scores(window.box)), n, window.full))
        return
    # The engine has no form that an interpreter could run.
    from nmflow.methods.flow.simd_engine import driver
    from nmflow.simd.tile_shape import tile_shape

    shape = tile_shape(n, m)
    signed = stack.score == "raw"
    floats = stack.host.bfloat16 or stack.matrices.dtype.kind == "f"
    in_place = floats and driver.reads_in_place(stack.matrices, window.columns, m)
    if stack.score == "square" or not in_place:
        _solve_cut(stack, window, mask, n, shape, signed=signed)
        return
    left = driver.solve_box(stack.matrices, mask, window.box, shape, signed)
    if left is None:
        stack.raise_not_finite()
    _finish(stack.matrices, mask, left, shape, n, stack.scores_of)
    beyond = driver.tiles_beyond(stack.matrices, window.box, shape)
    if beyond:
        corner = window.last_tiles(beyond)
        _solve_cut(stack, corner, mask, n, shape, signed=signed)


def _solve_cut(
    stack: MatrixStack,
    window: Window,
    mask: NDArray[np.bool_],
    n: int,
    shape: TileShape,
    *,
    signed: bool,
) -> None:
    """Full tiles that the engine can't read where they are."""
    tiles = window.cut(stack.scores(window.box))
    window.paste(mask, _solve_full(tiles, n, shape, signed=signed))


def _solve_full(
    tiles: NDArray[Any], n: int, shape: TileShape, *, signed: bool
) -> NDArray[np.bool_]:
    """Full tiles that don't lie in a matrix as the engine reads it."""
    from nmflow.methods.flow.simd_engine import driver

    if tiles.dtype.kind != "f":
        return solve_tiles(tiles, n, True)
    values = driver.strip(tiles, shape)
    mask = np.empty(values.shape, np.bool_)
    count, m, _ = tiles.shape
    columns = -(-count // shape.tiles) * shape.tiles * m
    box = slice(0, 1), slice(0, m), slice(0, columns)
    left = driver.solve_box(values, mask, box, shape, signed)
    assert left is not None
    _finish(values, mask, left, shape, n, lambda part: part)
    return mask[0, :, : count * m].reshape(m, count, m).transpose(1, 0, 2)


def _finish(
    values: NDArray[Any],
    mask: NDArray[np.bool_],
    left: Left,
    shape: TileShape,
    n: int,
    as_scores: Any,
) -> None:
    """Solve what the engine left open."""
    from nmflow.methods.flow.simd_engine import driver

    if not left.position.size:
        return
    where = driver.entries(left, values.shape[2], shape)
    scores = as_scores(values.reshape(-1)[where])
    start = left.start.reshape(len(scores), shape.m)
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
    """Optimal masks of a batch of equal tiles; see :class:`nmflow.methods.registry.TileSolver`.

    ``start`` holds column potentials (T, c) to start from; the masks do not depend on them.
    """
    if n >= max(scores.shape[1:]):
        # The groups constrain nothing.
        return np.ones(scores.shape, np.bool_) if full else scores >= 0
    mask, settled = np.empty(scores.shape, np.bool_), np.empty(len(scores), np.bool_)
    if scores.dtype.kind == "f":
        window = max(1, _WINDOW // scores[0].size)
        if start is None:
            start = np.zeros((len(scores), scores.shape[2]))
        for first in range(0, len(scores), window):
            part = slice(first, first + window)
            values = scores[part].astype(np.float64, copy=False)
            _settle(values, n, full, start[part], mask[part], settled[part])
    else:
        settle_integers(*floored(scores), n, full, mask, settled)
    for t in np.flatnonzero(~settled):
        mask[t] = solve_unbounded(unique_integers(scores[t : t + 1])[0], n, full)
    return mask


def _settle(
    scores: NDArray[np.float64],
    n: int,
    full: bool,
    start: NDArray[np.float64],
    mask: NDArray[np.bool_],
    settled: NDArray[np.bool_],
) -> None:
    """The scalar road; on partial tiles only where lanes leave it something."""
    if full or config.DISABLE_JIT or len(scores) < _FEW or max(scores.shape[1:]) > LARGEST_LANES:
        settle_batch(scores, n, full, start, mask, settled)
        return
    from nmflow.methods.flow.simd_engine.driver import settle_edges

    settle_edges(scores, n, mask, settled, start)
    left = np.flatnonzero(~settled)
    if left.size:
        rest = mask[left], settled[left]
        settle_batch(scores[left], n, full, start[left], *rest)
        mask[left], settled[left] = rest
