"""From a mask to a proof: prices are found and checked; where there are none, an optimum is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.prices import Prices
from nmflow.proof.ascent import ascend
from nmflow.proof.checker import Held, check, count_kept
from nmflow.proof.labels import label
from nmflow.proof.lanes import no_prices
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


def prove_as_it_stands(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    held: Held,
    n: int,
    full: bool,
    given: Prices | None = None,
) -> tuple[NDArray[np.bool_], Prices]:
    """Which tiles of a window, of floats, are optimal, and prices that prove those.

    Prices of the others mean nothing. Parameters are those of :func:`prove`.
    """
    if given is None:
        prices = None
        proved: NDArray[np.bool_] = np.zeros_like(_as_due(held, n, full))
    else:
        prices = Prices(*(np.array(part, np.float64, order="C") for part in given))
        proved = check(scores, mask, held, prices, n, full)
    unproved = _as_due(held, n, full) & ~proved
    if unproved.any():
        found = label(scores, mask, held, np.flatnonzero(unproved), n, full)
        proved = np.logical_or(proved, check(scores, mask, held, found, n, full))
        prices = found if prices is None else _merge(prices, found, unproved, held)
    return proved, prices or no_prices(held)


def _merge(prices: Prices, found: Prices, tiles: NDArray[np.bool_], held: Held) -> Prices:
    """Prices, and of some tiles those that were found."""
    r, c = held.tile
    return Prices(
        np.where(np.repeat(tiles, r, axis=1), found.rows, prices.rows),
        np.where(np.repeat(tiles, c, axis=2), found.columns, prices.columns),
    )


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
