"""The mask of a batch of matrices that is solved again and again, window by window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.batch import MatrixBatch
from nmflow.problem.pattern import Pattern
from nmflow.problem.prices import Prices
from nmflow.problem.tiling import Window, windows
from nmflow.problem.workers import run_all

if TYPE_CHECKING:
    from nmflow.solvers.flow.warm_window import WarmWindow

# Entries of a window: the unit of work of a thread, and of what is kept.
_WINDOW = 1 << 20


class TrackedBatch:
    """A mask and what the solve that found it left behind: potentials and masks of each window.

    Parameters
    ----------
    pattern : Pattern
    shape : (int, int, int)
        Of the batch: matrices, rows, columns.

    Attributes
    ----------
    mask : ndarray of bool
        Of the batch's shape; all False at first.
    """

    def __init__(self, pattern: Pattern, shape: tuple[int, int, int]) -> None:
        self.pattern = pattern
        self.mask = np.zeros(shape, np.bool_)
        self._windows = list(windows(shape, pattern.tile, _WINDOW))
        self._boxes = _warm_boxes(self._windows, pattern, shape)

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return sum(window.count for window in self._windows)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        beside = sum(box.warm_start.nbytes for box in self._boxes if box is not None)
        return self.mask.nbytes + beside

    def update(self, batch: MatrixBatch, threads: int) -> tuple[int, int]:
        """Bring the mask up to date; entries that changed, and tiles proved at once.

        If it fails, or is interrupted, the mask is as it was.
        """
        values = None
        if any(self._boxes):
            from nmflow.solvers.flow.warm_window import contiguous_floats

            values = contiguous_floats(batch)
        results = [(0, 0)] * max(len(self._windows), 1)
        undo: list[Callable[[], None]] = []

        def work(index: int) -> None:
            box, window = self._boxes[index], self._windows[index]
            signed = batch.score == "raw"
            if box is None or values is None or box.is_spared(values, self.mask, signed):
                results[index] = self._solve_anew(batch, window, box, undo)
                return
            undo.append(box.snapshot(self.mask))
            done = box.update(values, self.mask, signed, batch.scores_of)
            if done is None:
                batch.raise_not_finite()
            results[index] = done

        try:
            run_all(work, range(len(self._windows)), threads)
        except BaseException:
            for each in undo:
                each()
            raise
        flipped, at_once = (sum(column) for column in zip(*results, strict=True))
        return flipped, at_once

    def _solve_anew(
        self, batch: MatrixBatch, window: Window, box: WarmWindow | None, undo: list[Any]
    ) -> tuple[int, int]:
        from nmflow.solvers.flow.method import solve_window

        before = self.mask[window.box].copy()

        def back() -> None:
            self.mask[window.box] = before
            if box is not None:
                box.adopt(self.mask)

        undo.append(back)
        solve_window(batch, window, self.mask, self.pattern.n, None)
        if box is not None:
            box.adopt(self.mask)
        flipped = int(np.count_nonzero(before != self.mask[window.box]))
        return flipped, 0

    def adopt(self, mask: NDArray[np.bool_]) -> None:
        """Take over a mask that was found elsewhere, with no potentials that would prove it."""
        np.copyto(self.mask, mask)
        for box in self._boxes:
            if box is not None:
                box.forget_potentials()
                box.adopt(self.mask)

    def prices(self) -> Prices:
        """What the last update found; NaN for tiles that are solved anew each time."""
        prices = Prices.unknown(self.mask.shape, self.pattern.tile)
        for box in self._boxes:
            if box is not None:
                box.write_prices(prices)
        return prices

    def state(self) -> dict[str, NDArray[Any]]:
        """Plain arrays from which :meth:`restore` goes on."""
        state: dict[str, NDArray[Any]] = {"mask": np.packbits(self.mask)}
        for index, box in enumerate(self._boxes):
            if box is not None:
                state |= {f"{index}.{name}": part for name, part in box.state().items()}
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from saved arrays."""
        bits = np.unpackbits(state["mask"], count=self.mask.size)
        self.mask[:] = bits.reshape(self.mask.shape)
        for index, box in enumerate(self._boxes):
            if box is not None:
                box.restore({k: state[f"{index}.{k}"] for k in box.state()}, self.mask)


def _warm_boxes(
    parts: list[Window], pattern: Pattern, shape: tuple[int, int, int]
) -> list[WarmWindow | None]:
    """For each window its warm start, or None where it is solved anew each time."""
    from numba import config

    n, m = pattern.n, pattern.m
    if config.DISABLE_JIT or n == m or m not in (8, 16, 32):
        return [None] * len(parts)
    from nmflow.simd.tile_shape import ROW, tile_shape
    from nmflow.solvers.flow.warm_window import WarmWindow

    return [
        WarmWindow(part.box, tile_shape(n, m), shape[1], shape[2])
        if part.full and part.columns >= max(m, ROW)
        else None
        for part in parts
    ]
