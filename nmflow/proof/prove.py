"""From a mask to a proof: prices are found and checked; where there are none, an optimum is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.arrays import for_kernels
from nmflow.problem.prices import Prices
from nmflow.proof.ascent import ascend
from nmflow.proof.checker import Verdict, check
from nmflow.proof.kept_sum import KeptSums, kept_sum
from nmflow.proof.labels import label
from nmflow.proof.lines import no_prices
from nmflow.proof.search import search

# One tile of so many is few.
_FEW = 64

# Matrices, tile rows and tile columns, as numpy.nonzero finds them.
Where = tuple[NDArray[Any], ...]


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


class Reading(NamedTuple):
    """What one look at a window finds.

    Attributes
    ----------
    verdict : Verdict
        Whether its tiles hold what they should, and whether the prices prove them.
    value : int
        The exact sum of the kept scores, as a multiple of 2**-1074.
    finite : bool
        Whether all numbers are; else the rest says nothing.
    """

    verdict: Verdict
    value: int
    finite: bool


def read(
    values: NDArray[Any],
    unsigned: bool,
    mask: NDArray[np.bool_],
    prices: Prices | None,
    tile: tuple[int, int],
    n: int,
    full: bool,
) -> Reading:
    """Count, add up, and hold against prices, if there are any, in one pass over a window.

    Parameters
    ----------
    values : ndarray, shape (B, R, C), float32, float64, int64 or uint64
        C-contiguous, as is the mask.
    unsigned : bool
        Whether the scores are these without their signs.
    mask : ndarray of bool, shape (B, R, C)
    prices : Prices, optional
        Of the window, of any float type and anywhere in memory; NaN where there are none.
    tile, n, full
        As for :func:`prove`.
    """
    if values.dtype.kind != "f":
        verdict = check(values.astype(np.float64), mask, None, tile, n, full)
        return Reading(verdict, kept_sum(values, mask), True)
    if prices is not None:
        narrow = all(part.dtype == np.float32 for part in (values, *prices))
        dtype = np.float32 if narrow else np.float64
        prices = Prices(*(for_kernels(part.astype(dtype, copy=False)) for part in prices))
    kept = KeptSums.of(values, unsigned)
    verdict = check(values, mask, prices, tile, n, full, kept)
    if not kept.finite:
        return Reading(verdict, 0, False)
    value = kept.total()
    if value is None:
        value = kept_sum(np.abs(values) if unsigned else values, mask)
    return Reading(verdict, value, True)


def prove(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    due: NDArray[np.bool_],
    tile: tuple[int, int],
    n: int,
    full: bool,
) -> Proof:
    """Which tiles of a window are optimal, and optimal masks of those that aren't, all proved.

    Parameters
    ----------
    scores : ndarray, shape (B, R, C), float32, float64, int64 or uint64
        C-contiguous, as is the mask.
    mask : ndarray of bool, shape (B, R, C)
        Any.
    due : ndarray of bool, shape (B, I, J)
        Which tiles hold what they should, as :func:`nmflow.proof.checker.check` finds it.
    tile : (int, int)
        Rows and columns of a tile.
    n : int
    full : bool
        Whether rows and columns must hold exactly n, or at most n.
    """
    # 64-bit integers are for the search alone, which knows no floats.
    of_floats = scores.dtype.kind == "f"
    optimal = np.zeros(due.shape, np.bool_)
    if of_floats and due.any():
        prices = label(scores, mask, np.flatnonzero(due), tile, n, full)
        optimal = check(scores, mask, prices, tile, n, full).proved
    if optimal.all():
        return Proof(mask, optimal)
    others = np.flatnonzero(~optimal)
    optimum = mask.copy()
    if of_floats and _FEW * others.size <= optimal.size:
        # Most likely optimal, but for more digits: ascent would find what is there already.
        none = Prices(*map(np.zeros_like, no_prices(scores, tile)))
        optimal.ravel()[others] = search(scores, optimum, none, others, tile, n, full)
        return Proof(optimum, optimal)
    near = scores if of_floats else scores.astype(np.float64)
    prices = ascend(near, optimum, others, tile, n, full)
    done = optimal
    if of_floats:
        # Prices of an optimum prove every optimum.
        optimal = optimal | check(scores, mask, prices, tile, n, full).proved
        done = optimal | check(scores, optimum, prices, tile, n, full).proved
    as_it_was = optimal | ~done
    if as_it_was.any():
        np.copyto(cut(optimum, tile), cut(mask, tile), where=as_it_was[..., None, None])
    left = np.flatnonzero(~done)
    if left.size:
        optimal.ravel()[left] = search(scores, optimum, prices, left, tile, n, full)
    return Proof(optimum, optimal)


def cut(window: NDArray[Any], tile: tuple[int, int]) -> NDArray[Any]:
    """A window (B, R, C) as tiles: a view (B, I, J, r, c)."""
    (b, rows, columns), (r, c) = window.shape, tile
    return window.reshape(b, rows // r, r, columns // c, c).swapaxes(2, 3)


def side_by_side(window: NDArray[Any], tile: tuple[int, int], where: Where) -> NDArray[Any]:
    """Some tiles of a window as a window of their own, which is one row of tiles."""
    tiles = cut(window, tile)[where].swapaxes(0, 1)
    return tiles.reshape(1, tile[0], -1)


def prove_as_it_stands(
    values: NDArray[Any],
    unsigned: bool,
    mask: NDArray[np.bool_],
    prices: Prices,
    tile: tuple[int, int],
    n: int,
    full: bool,
) -> None:
    """Replace prices of a window, of floats, that don't prove its mask: by such as do, or NaN.

    Parameters as for :func:`read`; the prices are float64, and written.
    """
    due, proved = read(values, unsigned, mask, prices, tile, n, full).verdict
    left = np.nonzero(~proved)
    if not left[0].size:
        return
    scores, mask = (side_by_side(part, tile, left) for part in (values, mask))
    scores = np.abs(scores) if unsigned else scores
    found = label(scores, mask, np.flatnonzero(due[left]), tile, n, full)
    wrong = ~check(scores, mask, found, tile, n, full).proved[0, 0]
    found.rows[0, :, wrong] = np.nan
    found.columns.reshape(-1, tile[1])[wrong] = np.nan
    by_row = cut(prices.rows, (tile[0], 1))[..., 0]
    by_column = cut(prices.columns, (1, tile[1]))[..., 0, :]
    by_row[left] = found.rows[0].T
    by_column[left] = found.columns.reshape(-1, tile[1])
