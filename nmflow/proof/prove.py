"""From a mask to a proof: prices are found and checked; where there are none, an optimum is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.prices import Prices
from nmflow.proof.ascent import ascend
from nmflow.proof.checker import Held, check, count_kept
from nmflow.proof.labels import label
from nmflow.proof.search import search

# One tile of so many is few.
_FEW = 64


class Proof(NamedTuple):
    """The outcome for the tiles of a window.

    Attributes
    ----------
    optimum : ndarray of bool, shape (B, R, C)
        Optimal masks of all tiles; the given one where that is optimal.
    optimal : ndarray of bool, shape (B, I, J)
        Which tiles' masks are.
    """

    optimum: NDArray[np.bool_]
    optimal: NDArray[np.bool_]


def prove(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    held: Held,
    n: int,
    full: bool,
    given: Prices | None = None,
) -> Proof:
    """Which tiles of a window are optimal, and optimal masks of those that aren't, all proved.

    Parameters
    ----------
    scores : ndarray, shape (B, R, C), float32, float64, int64 or uint64
        C-contiguous, as is the mask.
    mask : ndarray of bool, shape (B, R, C)
        Any.
    held : Held
        What it keeps, see :func:`nmflow.proof.checker.count_kept`.
    n : int
    full : bool
        Whether rows and columns must hold exactly n, or at most n.
    given : Prices, optional
        Of the window, from anywhere; NaN where there are none.
    """
    if given is not None and scores.dtype.kind == "f":
        proved = _check_given(scores, mask, held, given, n, full)
        # Where there are few prices, tiles are sooner looked at once more than cut out.
        if 2 * np.count_nonzero(proved) >= proved.size:
            return _prove_rest(scores, mask, held, n, full, proved)
    optimal = _as_due(held, n, full)
    # 64-bit integers are for the search alone, which knows no floats.
    of_floats = scores.dtype.kind == "f"
    if not of_floats:
        optimal[:] = False
    elif optimal.any():
        prices = label(scores, mask, held, np.flatnonzero(optimal), n, full)
        optimal = check(scores, mask, held, prices, n, full)
    if optimal.all():
        return Proof(mask, optimal)
    others = np.flatnonzero(~optimal)
    if of_floats and _FEW * others.size <= optimal.size:
        # Most likely optimal, but for more digits: ascent would find what is there already.
        optimum = mask.copy()
        none = Prices(*(np.zeros(part.shape) for part in held))
        optimal.ravel()[others] = search(scores, optimum, held, none, others, n, full)
        return Proof(optimum, optimal)
    near = scores if of_floats else scores.astype(np.float64)
    optimum = mask.copy()
    prices = ascend(near, optimum, held, others, n, full)
    done = optimal
    if of_floats:
        # Prices of an optimum prove every optimum.
        optimal = optimal | check(scores, mask, held, prices, n, full)
        kept = count_kept(optimum, held.tile)
        done = optimal | check(scores, optimum, kept, prices, n, full)
    _restore(optimum, mask, held, optimal | ~done)
    left = np.flatnonzero(~done)
    if left.size:
        optimal.ravel()[left] = search(scores, optimum, held, prices, left, n, full)
    return Proof(optimum, optimal)


def cut(window: NDArray[Any], tile: tuple[int, int]) -> NDArray[Any]:
    """A window (B, R, C) as tiles: a view (B, I, J, r, c)."""
    (b, rows, columns), (r, c) = window.shape, tile
    return window.reshape(b, rows // r, r, columns // c, c).swapaxes(2, 3)


def _prove_rest(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    held: Held,
    n: int,
    full: bool,
    optimal: NDArray[np.bool_],
) -> Proof:
    """As :func:`prove`, of the tiles that are not proved ``optimal`` yet, side by side."""
    where = np.nonzero(~optimal)
    if not where[0].size:
        return Proof(mask, optimal)
    tiles = cut(mask, held.tile)[where]
    rest = prove(cut(scores, held.tile)[where], tiles, count_kept(tiles, held.tile), n, full)
    optimal[where] = rest.optimal[:, 0, 0]
    optimum = mask.copy()
    cut(optimum, held.tile)[where] = rest.optimum
    return Proof(optimum, optimal)


def prove_as_it_stands(
    scores: NDArray[Any], mask: NDArray[np.bool_], n: int, full: bool, prices: Prices, tile: Any
) -> None:
    """Replace prices of a window, of floats, that don't prove its mask: by such as do, or NaN.

    Parameters
    ----------
    scores, mask, n, full
        As for :func:`prove`.
    prices : Prices
        Of the window, float64. Written.
    tile : (int, int)
        Rows and columns of a tile.
    """
    unproved = np.nonzero(~_check_given(scores, mask, count_kept(mask, tile), prices, n, full))
    if not unproved[0].size:
        return
    scores, mask = cut(scores, tile)[unproved], cut(mask, tile)[unproved]
    held = count_kept(mask, tile)
    found = label(scores, mask, held, np.flatnonzero(_as_due(held, n, full)), n, full)
    proved = check(scores, mask, held, found, n, full)[:, 0, 0]
    b, i, j = unproved
    lines = np.arange(tile[0]), np.arange(tile[1])
    rows = np.where(proved[:, None], found.rows[:, :, 0], np.nan)
    columns = np.where(proved[:, None], found.columns[:, 0], np.nan)
    prices.rows[b[:, None], i[:, None] * tile[0] + lines[0], j[:, None]] = rows
    prices.columns[b[:, None], i[:, None], j[:, None] * tile[1] + lines[1]] = columns


def _check_given(
    scores: NDArray[Any], mask: NDArray[np.bool_], held: Held, given: Prices, n: int, full: bool
) -> NDArray[np.bool_]:
    """Which tiles prices prove that may be of any float type, and anywhere in memory."""
    narrow = all(part.dtype == np.float32 for part in (scores, *given))
    dtype = np.float32 if narrow else np.float64
    prices = Prices(*(np.array(part, dtype, order="C") for part in given))
    return check(scores, mask, held, prices, n, full)


def _as_due(held: Held, n: int, full: bool) -> NDArray[np.bool_]:
    """Which tiles hold what they should."""
    (b, i, _), j = held.columns.shape, held.rows.shape[2]
    rows, columns = (part == n if full else part <= n for part in held)
    if rows.all() and columns.all():
        return np.ones((b, i, j), np.bool_)
    by_row, by_column = rows.reshape(b, i, -1, j), columns.reshape(b, i, j, -1)
    due: NDArray[np.bool_] = np.all(by_row, axis=2) & np.all(by_column, axis=3)
    return due


def _restore(
    optimum: NDArray[np.bool_], mask: NDArray[np.bool_], held: Held, tiles: NDArray[np.bool_]
) -> None:
    """Put some tiles' masks back."""
    if tiles.any():
        tile, where = held.tile, tiles[..., None, None]
        np.copyto(cut(optimum, tile), cut(mask, tile), where=where)
