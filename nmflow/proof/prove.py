"""From a mask to a proof: prices are found and checked; where there are none, an optimum is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.arrays import for_kernels
from nmflow.problem.pattern import Pair
from nmflow.problem.prices import Prices
from nmflow.problem.tiling import as_tiles
from nmflow.proof.ascent import ascend
from nmflow.proof.checker import Verdict, check
from nmflow.proof.exact.search import search
from nmflow.proof.kept_sum import KeptSums, kept_sum
from nmflow.proof.labels import label
from nmflow.proof.lines import no_prices

# One tile of so many is few.
_FEW = 64
# One of so many is few enough to be worked on longer before it is searched.
_FEW_ENOUGH, _PATIENCE = 4, 4

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
    n: Pair,
    full: bool,
) -> Reading:
    """Count, add up, and hold against prices in one pass over a window.

    Parameters
    ----------
    values : ndarray, shape (B, R, C), float32, float64, int64 or uint64
        C-contiguous, as is the mask.
    unsigned : bool
        Whether the scores are these without their signs.
    mask : ndarray of bool, shape (B, R, C)
    prices : Prices, optional
        Of the window, of any float type and anywhere in memory; NaN where there are none. By
        default those that :func:`nmflow.proof.labels.label` finds.
    tile, n, full
        As for :func:`prove`.
    """
    if values.dtype.kind != "f":
        due = count(values, mask, tile, n, full)
        return Reading(Verdict(due, np.zeros_like(due)), kept_sum(values, mask), True)
    if prices is None:
        # Numbers that are not finite are found below; the interpreter would warn of them.
        with np.errstate(invalid="ignore", over="ignore"):
            prices = label(values, mask, tile, n, full, values.dtype, unsigned)
    else:
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


def count(
    values: NDArray[Any], mask: NDArray[np.bool_], tile: tuple[int, int], n: Pair, full: bool
) -> NDArray[np.bool_]:
    """Which tiles of a window, whose scores don't matter, hold what they should."""
    scores = values if values.dtype.kind == "f" else np.empty(values.shape)
    return check(scores, mask, None, tile, n, full).due


def prove(
    values: NDArray[Any],
    unsigned: bool,
    mask: NDArray[np.bool_],
    tile: tuple[int, int],
    n: Pair,
    full: bool,
) -> Proof:
    """Which tiles of a window are optimal, and optimal masks of those that aren't, all proved.

    Parameters
    ----------
    values : ndarray, shape (B, R, C), float32, float64, int64 or uint64
        C-contiguous, as is the mask.
    unsigned : bool
        Whether the scores are these without their signs.
    mask : ndarray of bool, shape (B, R, C)
        Any.
    tile : (int, int)
        Rows and columns of a tile.
    n : (int, int)
        What rows hold, and what columns do.
    full : bool
        Whether rows and columns must hold exactly n, or at most n.
    """
    optimal = _label(values, unsigned, mask, tile, n, full, values.dtype)
    return prove_rest(values, unsigned, mask, optimal, tile, n, full)


def prove_rest(
    values: NDArray[Any],
    unsigned: bool,
    mask: NDArray[np.bool_],
    optimal: NDArray[np.bool_],
    tile: tuple[int, int],
    n: Pair,
    full: bool,
    labelled: bool = True,
) -> Proof:
    """As :func:`prove`, of tiles of which some, shape (B, I, J), are known to be ``optimal``.

    ``labelled`` says whether labels were tried with the others.
    """
    count = optimal.size - np.count_nonzero(optimal)
    if not count:
        return Proof(mask, optimal)
    if 2 * count > optimal.size and labelled:
        return _optimise(np.abs(values) if unsigned else values, mask, tile, n, full)
    if count == optimal.size:
        return prove(values, unsigned, mask, tile, n, full)
    left = np.nonzero(~optimal)
    part, given = side_by_side(values, tile, left), side_by_side(mask, tile, left)
    if not labelled:
        rest = prove(part, unsigned, given, tile, n, full)
    else:
        # Few are most likely optimal, but for more digits: ascent would find what is there already.
        few = _FEW * count <= optimal.size
        rest = (_search if few else _optimise)(
            np.abs(part) if unsigned else part, given, tile, n, full
        )
    optimal, optimum = optimal.copy(), mask.copy()
    optimal[left] = rest.optimal.ravel()
    as_tiles(optimum, tile)[left] = as_tiles(rest.optimum, tile)[0, 0]
    return Proof(optimum, optimal)


def _label(
    values: NDArray[Any],
    unsigned: bool,
    mask: NDArray[np.bool_],
    tile: tuple[int, int],
    n: Pair,
    full: bool,
    dtype: Any,
) -> NDArray[np.bool_]:
    """Which tiles labels of that type prove; none of 64-bit integers, which are for the search."""
    if values.dtype.kind != "f":
        return np.zeros(as_tiles(mask, tile).shape[:3], np.bool_)
    prices = label(values, mask, tile, n, full, dtype, unsigned)
    kept = KeptSums.unwanted(values, unsigned)
    return check(values, mask, prices, tile, n, full, kept).proved


def _search(
    scores: NDArray[Any], mask: NDArray[np.bool_], tile: tuple[int, int], n: Pair, full: bool
) -> Proof:
    """As :func:`prove`, by labels of more digits, and tile by tile what they leave."""
    optimal = _label(scores, False, mask, tile, n, full, np.float64)
    left = np.flatnonzero(~optimal)
    if not left.size:
        return Proof(mask, optimal)
    optimum, none = mask.copy(), Prices(*map(np.zeros_like, no_prices(scores, tile)))
    optimal.ravel()[left] = search(scores, optimum, none, left, tile, n, full)
    return Proof(optimum, optimal)


def _optimise(
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    tile: tuple[int, int],
    n: Pair,
    full: bool,
    patience: int = 1,
) -> Proof:
    """As :func:`prove`, of tiles most of which are not optimal."""
    of_floats = scores.dtype.kind == "f"
    near = scores if of_floats else scores.astype(np.float64)
    optimum = mask.copy()
    prices = ascend(near, optimum, tile, n, full, patience)
    # Prices of an optimum prove every optimum.
    optimal = check(near, mask, prices, tile, n, full).proved & of_floats
    done = (check(near, optimum, prices, tile, n, full).proved & of_floats) | optimal
    as_it_was = optimal | ~done
    if as_it_was.any():
        np.copyto(as_tiles(optimum, tile), as_tiles(mask, tile), where=as_it_was[..., None, None])
    if done.all():
        return Proof(optimum, optimal)
    left = np.nonzero(~done)
    if patience == 1 and _FEW_ENOUGH * left[0].size <= done.size:
        parts = side_by_side(scores, tile, left), side_by_side(mask, tile, left)
        rest = _optimise(*parts, tile, n, full, _PATIENCE)
        optimal[left] = rest.optimal.ravel()
        as_tiles(optimum, tile)[left] = as_tiles(rest.optimum, tile)[0, 0]
    else:
        tiles = np.flatnonzero(~done)
        optimal.ravel()[tiles] = search(scores, optimum, prices, tiles, tile, n, full)
    return Proof(optimum, optimal)


def side_by_side(window: NDArray[Any], tile: tuple[int, int], where: Where) -> NDArray[Any]:
    """Some tiles of a window as a window of their own, which is one row of tiles."""
    tiles = as_tiles(window, tile)[where].swapaxes(0, 1)
    return tiles.reshape(1, tile[0], -1)


def prove_as_it_stands(
    values: NDArray[Any],
    unsigned: bool,
    mask: NDArray[np.bool_],
    prices: Prices,
    tile: tuple[int, int],
    n: Pair,
    full: bool,
) -> bool:
    """Replace prices of a window, of floats, that don't prove its mask, by such as do, or NaN.

    Parameters as for :func:`read`; the prices are written, and are float64, or float32 if the
    values are. Whether there are such prices for all tiles, of that type.
    """
    proved = read(values, unsigned, mask, prices, tile, n, full).verdict.proved
    if proved.all():
        return True
    some = bool(proved.any())
    if some:
        left = np.nonzero(~proved)
        values, mask = (side_by_side(part, tile, left) for part in (values, mask))
    found = label(values, mask, tile, n, full, prices.rows.dtype, unsigned)
    kept = KeptSums.unwanted(values, unsigned)
    wrong = ~check(values, mask, found, tile, n, full, kept).proved
    if wrong.any():
        for part in _by_tile(found, tile):
            part[wrong] = np.nan
    if not some:
        prices.rows[:], prices.columns[:] = found
    else:
        for to, part in zip(_by_tile(prices, tile), _by_tile(found, tile), strict=True):
            to[left] = part[0, 0]
    return not wrong.any()


def _by_tile(prices: Prices, tile: tuple[int, int]) -> Prices:
    """Views of prices, shapes (B, I, J, r) and (B, I, J, c)."""
    return Prices(
        as_tiles(prices.rows, (tile[0], 1))[..., 0],
        as_tiles(prices.columns, (1, tile[1]))[..., 0, :],
    )
