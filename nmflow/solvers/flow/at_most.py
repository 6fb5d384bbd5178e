"""``flow`` where tiles of m x m hold at most n of what is allowed: of a whole window.

By the SIMD engine (:mod:`nmflow.solvers.flow.simd_engine.at_most.kernel`), and by the scalar stage
what that leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import config
from numpy.typing import NDArray

from nmflow.problem.tiling import Window
from nmflow.solvers.flow.allowed import AllowedScores
from nmflow.solvers.flow.method import LARGEST_SIMD_M, solve_tiles

if TYPE_CHECKING:
    from nmflow.simd.tile_shape import TileShape
    from nmflow.solvers.flow.simd_engine.scratch import Unproved


def enumerates(n: int, m: int) -> bool:
    """Whether the engine enumerates the masks of such tiles: then it fills them too."""
    if config.DISABLE_JIT:
        return False
    from nmflow.simd.enumeration_within import ENUMERATED

    return (n, m) == ENUMERATED


def solve_window_at_most(
    scores: AllowedScores,
    window: Window,
    mask: NDArray[np.bool_],
    n: int,
    fills: bool = False,
) -> NDArray[Any] | None:
    """Write masks of tiles of m x m that hold at most n and nothing negative.

    Parameters
    ----------
    scores : AllowedScores
        Of arrays of shape (B, R, C), C-contiguous.
    window : Window
        All of it.
    mask : ndarray of bool, shape (B, R, C), C-contiguous
        Written.
    n : int
    fills : bool
        Whether tiles may be filled for it, at a loss.

    Returns
    -------
    ndarray, shape (B, I, J), or None
        Not 0 for tiles that could be filled by their counts of allowed entries and perhaps are not,
        and for others where filling was not tried. None if a value is not finite.
    """
    m = window.tile[0]
    if config.DISABLE_JIT or not n < m <= LARGEST_SIMD_M:
        return _solve_apart(scores, window, mask, n)
    from nmflow.simd.tile_shape import tile_shape
    from nmflow.solvers.flow.simd_engine import driver
    from nmflow.solvers.flow.simd_engine.at_most.driver import is_spared, solve_box_at_most
    from nmflow.solvers.flow.simd_engine.scratch import tiles_near_end

    shape = tile_shape(n, m)
    if is_spared(scores, mask, window.box, shape):
        return _solve_apart(scores, window, mask, n)
    if not driver.reads_in_place(scores.values, window.columns, m):
        return _solve_in_one_row(scores, window, mask, shape, fills)
    unproved, is_open = solve_box_at_most(scores, mask, window.box, shape, fills)
    if unproved is None:
        return None
    _solve_unproved_at_most(scores, mask, unproved, shape)
    near_end = tiles_near_end(scores.values, window.box, shape)
    if near_end:
        corner = window.last_tiles(near_end)
        corner.paste(mask, solve_tiles(corner.cut(scores.of(corner.box).masked()), n, False))
        is_open[-1, -1, -near_end:] = 1
    return is_open


def _solve_apart(
    scores: AllowedScores, window: Window, mask: NDArray[np.bool_], n: int
) -> NDArray[Any] | None:
    """As :func:`solve_window_at_most`, by the scalar stage."""
    if not np.isfinite(scores.values).all():
        return None
    window.paste(mask, solve_tiles(window.cut(scores.masked()), n, False))
    return np.ones(window.grid, np.uint8)


def _solve_in_one_row(
    scores: AllowedScores, window: Window, mask: NDArray[np.bool_], shape: TileShape, fills: bool
) -> NDArray[Any] | None:
    """As :func:`solve_window_at_most`, of copies of the tiles, side by side."""
    from nmflow.solvers.flow.simd_engine import driver
    from nmflow.solvers.flow.simd_engine.at_most.driver import solve_box_at_most

    def side_by_side(part: NDArray[Any]) -> NDArray[Any]:
        tiles = window.cut(part)
        # Zeros in place of tiles would tie.
        filled = np.pad(tiles, ((0, -len(tiles) % shape.tiles), (0, 0), (0, 0)), "edge")
        return driver.side_by_side(filled, shape)

    values, allowed = side_by_side(scores.values), side_by_side(scores.allowed)
    copies = AllowedScores(values, allowed, scores.unsigned)
    masks = np.empty(values.shape, np.bool_)
    width = -(-window.count // shape.tiles) * shape.tiles * shape.m
    box = slice(0, 1), slice(0, shape.m), slice(0, width)
    unproved, is_open = solve_box_at_most(copies, masks, box, shape, fills)
    if unproved is None:
        return None
    _solve_unproved_at_most(copies, masks, unproved, shape)
    count, m = window.count, shape.m
    window.paste(mask, masks[0, :, : count * m].reshape(m, count, m).transpose(1, 0, 2))
    return is_open[0, 0, :count].reshape(window.grid)


def _solve_unproved_at_most(
    scores: AllowedScores, mask: NDArray[np.bool_], unproved: Unproved, shape: TileShape
) -> None:
    """Solve what the engine left unproved, by the scalar fallback."""
    from nmflow.solvers.flow.simd_engine import driver

    if not unproved.position.size:
        return
    where = driver.entries(unproved, mask.shape[2], shape)
    flat = AllowedScores(scores.values.reshape(-1), scores.allowed.reshape(-1), scores.unsigned)
    start = unproved.start.reshape(-1, shape.m)
    tiles = flat.of(where).masked()
    mask.reshape(-1)[where] = solve_tiles(tiles, shape.n, False, start=start)
