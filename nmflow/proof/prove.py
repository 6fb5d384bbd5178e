"""From a mask to a proof: prices are found and checked; where there are none, an optimum is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.proof.ascent import ascend
from nmflow.proof.checker import Held, check, count_kept
from nmflow.proof.labels import label
from nmflow.proof.search import search


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


def prove(scores: NDArray[Any], mask: NDArray[np.bool_], held: Held, n: int, full: bool) -> Proof:
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
    """
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
        (b, i, j), (r, c) = tiles.shape, held.tile
        where = tiles[:, :, None, :, None]
        np.copyto(optimum.reshape(b, i, r, j, c), mask.reshape(b, i, r, j, c), where=where)
