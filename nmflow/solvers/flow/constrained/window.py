"""A window of tiles under constraints: which are solved at sight, which by the engine, which else.

A tile can be filled if some mask of allowed entries, the forced ones among them, holds exactly n in
every row and column. Where rows and columns have enough allowed entries, most likely it can, and
the engine solves it with penalties; its mask then obeys the constraints, or larger penalties tell.
Tiles that can't be filled hold at most n, as those of a ragged edge do, where that is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import for_kernels
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.constraints import Constraints, breaks, check_scores, penalised
from nmflow.problem.pattern import Pair, Pattern
from nmflow.problem.tiling import Window
from nmflow.solvers.flow.constrained.penalties import penalise
from nmflow.solvers.flow.constrained.tile_kinds import (
    EXACT,
    FITTING,
    FULL,
    OVERFULL,
    SHORT,
    sort_tiles,
)
from nmflow.solvers.flow.method import solve_capacitated, solve_window

# Where fewer of the tiles are for the engine, they are copied side by side for it.
_MANY = 4
# Twice the largest score is enough for nearly all tiles that can be filled; with forced entries
# in tiles that can't be, each of which replaces two others, four times.
_FILLED, _UNFILLED = 2.0, 4.0


def solve_constrained_window(
    batch: MatrixBatch, window: Window, mask: NDArray[np.bool_], constraints: Constraints | None
) -> None:
    """Write the masks of a window's tiles.

    Parameters
    ----------
    batch : MatrixBatch
    window : Window
    mask : ndarray of bool, shape (B, R, C), C-contiguous
        The whole batch's; only the window's box is written.
    constraints : Constraints, optional
        Of the batch.

    Raises
    ------
    NmflowError
        For a tile that holds more forced entries than it may, and for one that can't be filled and
        should be.
    """
    pattern = batch.pattern
    full = window.full and pattern.fills
    if constraints is None:
        tiles = window.cut(batch.scores(window.box))
        window.paste(mask, solve_capacitated(tiles, pattern.capacities, full))
        return
    part = _ConstrainedWindow(batch, window, full, *constraints.of_box(window.box))
    part.solve(mask[window.box])


@dataclass(frozen=True, slots=True)
class _ConstrainedWindow:
    """A window of a batch and its constraints, arrays of shape (B, R, C)."""

    batch: MatrixBatch
    window: Window
    full: bool
    allowed: NDArray[np.bool_]
    forced: NDArray[np.bool_]

    @property
    def n(self) -> Pair:
        """What rows hold, and what columns do."""
        return self.batch.pattern.capacities

    def solve(self, mask: NDArray[np.bool_]) -> None:
        """Write the masks of the window, (B, R, C)."""
        kinds = self._kinds()
        np.copyto(mask, self.allowed)
        whole = (kinds == FULL) & self.full
        fitting = (kinds <= FULL) & ~whole
        if self.batch.score != "raw" and (whole | fitting).all():
            self.batch.check_finite(self.window.box)
            return
        scores = for_kernels(check_scores(self.batch.scores(self.window.box), self.batch))
        if self.batch.score == "raw":
            worthless = self._cut((scores < 0) & ~self.forced)
            self._cut(mask)[...] &= ~(worthless & fitting[..., None, None])
        exact, unfilled = kinds == EXACT, kinds == SHORT
        if not self.full:
            unfilled |= exact
        elif exact.any():
            unfilled |= self._fill(mask, scores, exact)
        if unfilled.any():
            self._cut(mask)[unfilled] = self._solve_unfilled(scores, unfilled)

    def _kinds(self) -> NDArray[np.uint8]:
        """What the constraints leave open of each tile (B, I, J); raises if that is nothing."""
        kinds = sort_tiles(self.allowed, self.forced, self.window.tile, self.n)
        overfull = kinds == OVERFULL
        if overfull.any():
            self._raise_for(np.argwhere(overfull)[0], "has more forced entries than it may hold")
        if self.full and not self.batch.pattern.at_most:
            short = (kinds == FITTING) | (kinds == SHORT)
            if short.any():
                self._raise_for(np.argwhere(short)[0], "has too few allowed entries")
        return kinds

    def _fill(
        self, mask: NDArray[np.bool_], scores: NDArray[Any], exact: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Write the masks of those tiles (B, I, J); which of them can't be filled."""
        unfilled = np.zeros(exact.shape, np.bool_)
        if _MANY * np.count_nonzero(exact) < exact.size:
            tiles, allowed, forced = self._pick(scores, exact)
            masks = self._solve_filled(tiles, allowed, forced)
        else:
            whole = self._solve_filled(scores.copy(), self.allowed, self.forced)
            broken = breaks(whole, self.allowed, self.forced).any()
            if exact.all() and not broken:
                np.copyto(mask, whole)
                return unfilled
            masks = self._cut(whole)[exact]
            allowed, forced = self._pick(scores, exact)[1:]
        wrong = np.flatnonzero(breaks(masks, allowed, forced))
        if wrong.size:
            tiles = np.argwhere(exact)[wrong]
            bounds = allowed[wrong], forced[wrong]
            decisive = penalised(self._cut(scores)[tuple(tiles.T)], *bounds)
            masks[wrong] = solve_capacitated(decisive, self.n, True)
            never = breaks(masks[wrong], *bounds)
            if never.any() and not self.batch.pattern.at_most:
                self._raise_for(tiles[never.argmax()], "has no mask of allowed entries to fill it")
            unfilled[tuple(tiles[never].T)] = True
        self._cut(mask)[exact] = masks
        return unfilled

    def _solve_filled(
        self, scores: NDArray[Any], allowed: NDArray[np.bool_], forced: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Masks of matrices (B, R, C) whose tiles can perhaps be filled; scores are overwritten."""
        tile = self.window.tile
        scores = penalise(scores, (allowed, forced), tile, _FILLED)
        masks = np.empty(scores.shape, np.bool_)
        window = Window(
            (slice(0, scores.shape[0]), slice(0, scores.shape[1]), slice(0, scores.shape[2])),
            tile,
            True,
        )
        if self.batch.pattern.columns is None:
            pattern = Pattern(self.batch.pattern.n, self.batch.pattern.m)
            batch = MatrixBatch.of(scores, pattern, (1, 2), "raw")
            solve_window(batch, window, masks, pattern.n, None)
        else:
            window.paste(masks, solve_capacitated(window.cut(scores), self.n, True))
        return masks

    def _solve_unfilled(
        self, scores: NDArray[Any], unfilled: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Masks of those tiles, (T, r, c), in which rows and columns hold at most n."""
        scores, allowed, forced = self._pick(scores, unfilled)
        factor = _UNFILLED if forced.any() else 1.0
        tiles = penalise(scores.copy(), (allowed, forced), self.window.tile, factor)
        masks = solve_capacitated(tiles, self.n, False)
        broken = np.flatnonzero(breaks(masks, allowed, forced))
        if broken.size:
            whole = penalised(scores[broken], allowed[broken], forced[broken])
            masks[broken] = solve_capacitated(whole, self.n, False)
        return masks

    def _pick(self, scores: NDArray[Any], where: NDArray[np.bool_]) -> tuple[NDArray[Any], ...]:
        """Scores and constraints of some tiles: (T, r, c)."""
        parts = scores, self.allowed, self.forced
        return tuple(self._cut(part)[where] for part in parts)

    def _cut(self, part: NDArray[Any]) -> NDArray[Any]:
        """A view of the window's arrays as tiles: (B, I, J, r, c)."""
        (b, i, j), (r, c) = self.window.grid, self.window.tile
        return part.reshape(b, i, r, j, c).swapaxes(2, 3)

    def _raise_for(self, place: NDArray[Any], what: str) -> NoReturn:
        first = (span.start for span in self.window.box)
        matrix, *tile = (
            start // size + int(k)
            for start, size, k in zip(first, (1, *self.batch.pattern.tile), place, strict=True)
        )
        advice = "force fewer" if "forced" in what else "allow more, or pass at_most=True"
        raise NmflowError(
            f"{self.batch.what}: tile {tuple(tile)} of matrix {matrix} {what}: {advice}"
        )
