"""What groups of columns would keep with other columns in their places, by exact solves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.permuting.kernels import add_kept, lay_out
from nmflow.problem.pattern import Pattern
from nmflow.solve import solve

# Bytes of scores laid out for one solve: they stay in a core's cache.
_AT_ONCE = 1 << 20


def kept_with(
    bands: list[NDArray[Any]], pattern: Pattern, places: NDArray[Any]
) -> NDArray[np.float64]:
    """The kept score of each group with its column replaced by each of the others'.

    Parameters
    ----------
    bands : list of ndarray, shape (R, N)
        Scores, one below the other; tiles don't reach from one into the next.
    pattern : Pattern
        Of masks over the columns as they lie.
    places : ndarray of int, shape (K,)
        Columns of K different groups.

    Returns
    -------
    ndarray of float64, shape (K, K)
        Row b, column c: what the group of ``places[b]`` keeps with ``places[c]`` in its place.
    """
    m = pattern.m
    columns = bands[0].shape[1]
    starts = places // m * m
    kept = np.zeros((len(places), len(places)))
    # The last group of a ragged order is narrower.
    whole = starts + m <= columns
    for chosen, width in ((whole, m), (~whole, columns % m)):
        if not chosen.any():
            continue
        totals = np.zeros((int(chosen.sum()), len(places)))
        for band in bands:
            _add(band, pattern, starts[chosen], places[chosen], places, width, totals)
        kept[chosen] = totals
    return kept


def _add(
    band: NDArray[Any],
    pattern: Pattern,
    starts: NDArray[Any],
    own: NDArray[Any],
    candidates: NDArray[Any],
    width: int,
    totals: NDArray[np.float64],
) -> None:
    line = totals.size * width
    step = max(_AT_ONCE // (line * band.itemsize * pattern.m), 1) * pattern.m
    laid = np.empty((min(step, len(band)), line), band.dtype)
    kept = np.zeros(line)
    for first in range(0, len(band), step):
        rows = band[first : first + step]
        out = laid[: len(rows)]
        lay_out(rows, starts, own - starts, candidates, out, width)
        add_kept(out, _solved(out, width, pattern).view(np.uint8), kept)
    totals += kept.reshape(*totals.shape, width).sum(axis=-1)


def _solved(laid: NDArray[Any], width: int, pattern: Pattern) -> NDArray[np.bool_]:
    """The mask of groups of some width, each with tiles of its own."""
    matrices = laid
    if width != pattern.m:
        matrices = np.ascontiguousarray(laid.reshape(len(laid), -1, width).swapaxes(0, 1))
    mask: NDArray[np.bool_] = solve(
        matrices, pattern.n, pattern.m, pattern=pattern.name, score="raw", workers=1
    )
    if width != pattern.m:
        mask = np.ascontiguousarray(mask.swapaxes(0, 1)).reshape(laid.shape)
    return mask
