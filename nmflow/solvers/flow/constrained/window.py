"""A window of tiles under constraints: which are solved at sight, which by the engine, which else.

A tile can be filled if some mask of allowed entries, the forced ones among them, holds exactly n in
every row and column. Where rows and columns have enough allowed entries, most likely it can, and
the engine solves it with penalties; its mask then obeys the constraints, or larger penalties tell.
Tiles that can't be filled hold at most n, as those of a ragged edge do, where that is asked for; if
no row has more allowed entries than it may hold, or no column, the others keep their largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numba import config
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import for_kernels
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.constraints import Constraints, breaks, check_scores, penalised
from nmflow.problem.pattern import Pair
from nmflow.problem.tiling import Window, as_tiles
from nmflow.solvers.flow.allowed import AllowedScores
from nmflow.solvers.flow.at_most import enumerates, solve_window_at_most
from nmflow.solvers.flow.constrained.penalised import masks_of
from nmflow.solvers.flow.constrained.penalties import penalise
from nmflow.solvers.flow.constrained.taking import take_tiles
from nmflow.solvers.flow.constrained.tile_kinds import (
    BY_COLUMNS,
    BY_ROWS,
    EXACT,
    FITTING,
    FULL,
    OVERFULL,
    SHORT,
    sort_tiles,
)
from nmflow.solvers.flow.method import solve_capacitated

# Where fewer of the tiles are for a solver, they are copied side by side for it.
_MANY = 4
# So few cost less with the penalty that always decides than twice.
_FEW = 64
# Where at least one in so many holds at most n, solving all so costs less than sorting them out.
_SOME = 16
# Tiles in a row that tell what the others are like.
_SAMPLE = 64
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
    bounds = constraints.of_box(window.box)
    _ConstrainedWindow(batch, window, full, *bounds).solve(mask[window.box])


@dataclass(frozen=True, slots=True)
class _ConstrainedWindow:
    """A window of a batch and its constraints, arrays of shape (B, R, C); if any are forced."""

    batch: MatrixBatch
    window: Window
    full: bool
    allowed: NDArray[np.bool_]
    forced: NDArray[np.bool_]
    forces: bool

    @property
    def n(self) -> Pair:
        """What rows hold, and what columns do."""
        return self.batch.pattern.capacities

    def solve(self, mask: NDArray[np.bool_]) -> None:
        """Write the masks of the window, (B, R, C)."""
        if self._enumerates():
            self._enumerate(mask)
            return
        kinds = self._kinds()
        if self.batch.score == "raw":
            # What is allowed may be negative, and is not kept for that.
            kinds[kinds == FITTING if self.full else kinds <= FULL] = BY_COLUMNS
        if not self.full:
            kinds[kinds == EXACT] = SHORT
        values, unsigned = self._values()
        if self._fits_at_most(kinds):
            self._solve_at_most(mask, AllowedScores(values, self.allowed, unsigned))
            self._fill_short(mask, values, unsigned, kinds == EXACT)
            return
        np.copyto(mask, self.allowed)
        first = EXACT if (kinds == EXACT).any() else SHORT
        if not self._are_many(kinds == first):
            # Else what reads all scores sees to it.
            self.batch.check_finite(self.window.box)
        if (kinds <= FULL).all():
            return
        self._select(mask, values, unsigned, kinds)
        exact, unfilled = kinds == EXACT, kinds == SHORT
        if exact.any():
            unfilled |= self._fill(mask, values, unsigned, exact)
        if unfilled.any():
            factor = _UNFILLED if self.forces else 1.0
            never = self._solve(mask, values, unsigned, unfilled, factor, False)
            assert not never.any()

    def _enumerates(self) -> bool:
        """Whether all masks of each tile are looked at: in some there is a choice."""
        m, (n, _) = self.batch.pattern.m, self.n
        square = self.window.tile == (m, m) and self.n == (n, n)
        if not (square and enumerates(n, m)) or self.forces or self.batch.score == "raw":
            return False
        kinds = sort_tiles(self.allowed[:1, :m, : _SAMPLE * m].copy(), None, (m, m), self.n)
        return bool(_SOME * np.count_nonzero(kinds > FULL) >= kinds.size)

    def _enumerate(self, mask: NDArray[np.bool_]) -> None:
        """Write the masks of a window of 4 x 4 tiles."""
        values, unsigned = self._values()
        is_open = self._solve_at_most(mask, AllowedScores(values, self.allowed, unsigned)) != 0
        strict = not self.batch.pattern.at_most
        filled = self.n[0] * mask.size // self.window.tile[0]
        if not self.full or (strict and np.count_nonzero(mask) == filled):
            return
        if strict or self._are_many(is_open):
            # Some tile can't be filled, or none was enumerated.
            is_open = self._kinds() == EXACT
        self._fill_short(mask, values, unsigned, is_open)

    def _fits_at_most(self, kinds: NDArray[np.uint8]) -> bool:
        """Whether some tiles hold at most n, and are best solved so together with the others."""
        m, (rows, columns) = self.batch.pattern.m, self.n
        square = self.window.tile == (m, m) and rows == columns < m
        some = _SOME * np.count_nonzero(kinds == SHORT) >= kinds.size
        few = 2 * np.count_nonzero(kinds == EXACT) <= kinds.size
        return bool(square and some and few and self.batch.score != "raw" and not self.forces)

    def _are_many(self, tiles: NDArray[np.bool_]) -> bool:
        """Whether the solver solves a whole window for these, (B, I, J)."""
        return bool(_MANY * np.count_nonzero(tiles) >= tiles.size)

    def _finite(self, scores: NDArray[Any] | None) -> NDArray[Any]:
        """Scores, or an error where there are none for want of a finite value."""
        if scores is None:
            self.batch.raise_not_finite()
        return scores

    def _solve_at_most(self, mask: NDArray[np.bool_], values: AllowedScores) -> NDArray[Any]:
        """Write the masks of all tiles; 0 for those (B, I, J) known to be filled if they can be."""
        target = mask if mask.flags.c_contiguous else np.empty(mask.shape, np.bool_)
        window = Window.whole(mask.shape, self.window.tile, False)
        is_open = solve_window_at_most(values, window, target, self.n[0], self.full)
        if is_open is None:
            self.batch.raise_not_finite()
        if target is not mask:
            np.copyto(mask, target)
        return is_open

    def _fill_short(
        self,
        mask: NDArray[np.bool_],
        values: NDArray[Any],
        unsigned: bool,
        some: NDArray[np.bool_],
    ) -> None:
        """Fill tiles, (B, I, J), that are not, where possible: for less than they hold at most.

        Best under at most n is best under exactly n as well, if it holds that.
        """
        if not some.any():
            return
        tiles = as_tiles(mask, self.window.tile)
        short = some.copy()
        short[some] = tiles[some].sum(axis=(1, 2)) < self.n[0] * self.window.tile[0]
        if short.any():
            as_they_were = tiles[short]
            never = self._fill(mask, values, unsigned, short)
            tiles[never] = as_they_were[never[short]]

    def _select(
        self,
        mask: NDArray[np.bool_],
        values: NDArray[Any],
        unsigned: bool,
        kinds: NDArray[np.uint8],
    ) -> None:
        """Write the masks of tiles in which lines of one direction alone constrain anything."""
        lines = (kinds == BY_ROWS) | (kinds == BY_COLUMNS)
        tile, n = self.window.tile, self.n
        if lines.any() and not config.DISABLE_JIT and n[0] == n[1] < tile[0]:
            from nmflow.simd.tile_shape import tile_shape
            from nmflow.solvers.flow.constrained.lines import select_lines, selects

            if selects(tile, self.window.columns):
                bounds = self.allowed, self.forced
                select_lines(values, unsigned, bounds, kinds, tile_shape(n[0], tile[0]), mask)
                return
        kinds[lines] = SHORT

    def _values(self) -> tuple[NDArray[Any], bool]:
        """Numbers of which the scores are the magnitudes, or which they are; and which."""
        values, unsigned = self.batch.values(self.window.box)
        if values.dtype != np.float32:
            # Whether their range is too large depends on it.
            self.batch.check_finite(self.window.box)
        checked = check_scores(values, self.batch)
        return for_kernels(checked), unsigned

    def _kinds(self) -> NDArray[np.uint8]:
        """What the constraints leave open of each tile (B, I, J); raises if that is nothing."""
        kinds = sort_tiles(
            self.allowed, self.forced if self.forces else None, self.window.tile, self.n
        )
        overfull = kinds == OVERFULL
        if overfull.any():
            self._raise_for(np.argwhere(overfull)[0], "has more forced entries than it may hold")
        if self.full and not self.batch.pattern.at_most:
            short = (kinds == FITTING) | ((kinds >= BY_ROWS) & (kinds <= SHORT))
            if short.any():
                self._raise_for(np.argwhere(short)[0], "has too few allowed entries")
        return kinds

    def _fill(
        self,
        mask: NDArray[np.bool_],
        values: NDArray[Any],
        unsigned: bool,
        exact: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Write the masks of those tiles (B, I, J); which of them can't be filled."""
        never = self._solve(mask, values, unsigned, exact, _FILLED, True)
        if never.any() and not self.batch.pattern.at_most:
            place = np.argwhere(never)[0]
            self._raise_for(place, "has no mask of allowed entries to fill it")
        return never

    def _solve(
        self,
        mask: NDArray[np.bool_],
        values: NDArray[Any],
        unsigned: bool,
        chosen: NDArray[np.bool_],
        factor: float,
        full: bool,
    ) -> NDArray[np.bool_]:
        """Write the masks of the chosen tiles, with a penalty, and with one that always decides.

        Which of them, (B, I, J), have no mask that obeys the constraints.
        """
        tile, bounds, wrong = self.window.tile, (self.allowed, self.forced), chosen
        if self._are_many(chosen):
            scores = self._finite(penalise(values, unsigned, bounds, tile, factor))
            masks = masks_of(scores, self.batch.pattern.m, tile, self.n, full)
            wrong = take_tiles(masks, bounds, chosen, mask)
        elif np.count_nonzero(chosen) > _FEW:
            some, allowed, forced = (as_tiles(part, tile)[chosen] for part in (values, *bounds))
            scores = self._finite(penalise(some, unsigned, (allowed, forced), tile, factor))
            masks = masks_of(scores, self.batch.pattern.m, tile, self.n, full)
            as_tiles(mask, tile)[chosen] = masks
            wrong = np.zeros_like(chosen)
            wrong[chosen] = breaks(masks, allowed, forced)
        if not wrong.any():
            return wrong
        scores, allowed, forced = (as_tiles(part, tile)[wrong] for part in (values, *bounds))
        decisive = penalised(np.abs(scores) if unsigned else scores, allowed, forced)
        masks = masks_of(decisive, self.batch.pattern.m, tile, self.n, full)
        as_tiles(mask, tile)[wrong] = masks
        never = np.zeros_like(wrong)
        never[wrong] = breaks(masks, allowed, forced)
        return never

    def _raise_for(self, place: NDArray[Any], what: str) -> NoReturn:
        matrix, tile = self.window.place(tuple(place), self.batch.pattern.tile)
        advice = "force fewer" if "forced" in what else "allow more, or pass at_most=True"
        raise NmflowError(f"{self.batch.what}: tile {tile} of matrix {matrix} {what}: {advice}")
