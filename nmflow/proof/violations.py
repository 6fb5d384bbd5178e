"""Which rows and columns of a mask hold what they should not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.tiling import Window, as_tiles
from nmflow.proof.certificate import VIOLATIONS_LISTED, Place, Tally, Violation
from nmflow.proof.prove import count


def note_violations(
    tally: Tally,
    window: Window,
    mask: NDArray[np.bool_],
    due: NDArray[np.bool_],
    filled: NDArray[np.bool_] | bool,
) -> None:
    """Note rows and columns that hold what they should not, of the first tiles with such.

    Parameters
    ----------
    tally : Tally
        Written.
    window : Window
    mask : ndarray of bool, shape (B, R, C), C-contiguous
        Of the window.
    due : ndarray of bool, shape (B, I, J)
        Which tiles hold what they should.
    filled : bool, or ndarray of bool of that shape
        Which tiles should hold exactly n, and not at most n.
    """
    n = tally.pattern.capacities
    # Where no tile holds too much, each that is wrong holds too little.
    overfull = ~count(np.empty(mask.shape), mask, window.tile, n, False)
    shown = np.zeros(due.shape, np.bool_)
    for wrong in (overfull, ~due):
        shown.ravel()[np.flatnonzero(wrong)[:VIOLATIONS_LISTED]] = True
    tiles, place = as_tiles(mask, window.tile)[shown], _places(tally, window, shown)
    exactly = np.broadcast_to(filled, due.shape)[shown][:, None]
    for axis, line, allowed in ((2, "row", n[0]), (1, "column", n[1])):
        tally.check_counts(tiles.sum(axis=axis), allowed, exactly, line, place)


def note_broken(
    tally: Tally,
    window: Window,
    mask: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
    forced: NDArray[np.bool_],
) -> None:
    """Note rows of tiles that keep what is forbidden, or not what is forced; arrays (B, R, C)."""
    for line, wrong in (("forbidden", mask & ~allowed), ("forced", forced & ~mask)):
        by_row = as_tiles(wrong, window.tile).sum(axis=4)
        shown = by_row.any(axis=3)
        place = _places(tally, window, shown)
        due = as_tiles(forced, window.tile).sum(axis=4)[shown]
        for tile, index in np.argwhere(by_row[shown])[: VIOLATIONS_LISTED - len(tally.over)]:
            wrongs, all_forced = int(by_row[shown][tile, index]), int(due[tile, index])
            held = (wrongs, 0) if line == "forbidden" else (all_forced - wrongs, all_forced)
            tally.over.append(Violation(*place(int(tile), int(index))[:2], line, int(index), *held))


def _places(tally: Tally, window: Window, shown: NDArray[np.bool_]) -> Callable[..., Place]:
    """Where the rows and columns of some tiles of a window are, by tile and index."""
    tiles = np.argwhere(shown)

    def place(tile: int, index: int) -> Place:
        return *window.place(tuple(tiles[tile]), tally.pattern.tile), index

    return place
