"""One window of a tracked batch, solved from the potentials and masks of its last solve."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.batch import MatrixBatch
from nmflow.problem.prices import Prices
from nmflow.simd.tile_shape import ROW, TileShape
from nmflow.solvers.flow.method import solve_tiles
from nmflow.solvers.flow.simd_engine import driver, scratch
from nmflow.solvers.flow.simd_engine.warm_start import WarmStart, round_potentials


class WarmWindow:
    """Full tiles of a box that the SIMD engine reads in place, and their warm start.

    Parameters
    ----------
    box : tuple of slice
        Matrices, rows and columns.
    shape : TileShape
    height, stride : int
        Rows and columns of each matrix of the whole batch.
    """

    def __init__(self, box: scratch.Box, shape: TileShape, height: int, stride: int) -> None:
        self.box = box
        self.shape = shape
        self.warm_start: WarmStart = driver.warm_start_of(box, shape)
        self._height, self._stride = height, stride

    def snapshot(self, mask: NDArray[np.bool_]) -> Callable[[], None]:
        """A function that takes the mask and the warm start back to how they are now."""
        words, warm = self.warm_start.words.copy(), self.warm_start.valid.copy()

        def back() -> None:
            self.warm_start.words[:], self.warm_start.valid[:] = words, warm
            where, word_rows = self._rows_and_words(
                np.arange(scratch.strip_count(self.box, self.shape))
            )
            octets = self.warm_start.words.reshape(-1, self.shape.halves)[word_rows].view(np.uint8)
            mask.reshape(-1)[where] = np.unpackbits(octets, axis=2, bitorder="little")

        return back

    def is_spared(self, values: NDArray[Any], mask: NDArray[np.bool_], signed: bool) -> bool:
        """Whether compiling for the box would not pay: then it is solved without a warm start."""
        args = values, mask, self.box, self.shape, signed, values.size, self.warm_start
        return driver.is_spared(*args)

    def update(
        self,
        values: NDArray[Any],
        mask: NDArray[np.bool_],
        signed: bool,
        as_scores: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> tuple[int, int] | None:
        """Bring the mask up to date; how many entries changed, and tiles proved at once.

        Parameters
        ----------
        values, mask : ndarray, shape (B, R, C), C-contiguous
            Of the whole batch; the mask is written.
        signed : bool
            Whether the values are the scores; or else their magnitudes are.
        as_scores : function
            From values (T, m, m) to their scores.

        Returns
        -------
        (int, int) or None
            None if some value is not finite: then :meth:`snapshot` says how to go back.
        """
        warm_start, shape = self.warm_start, self.shape
        warm_start.counters[:] = 0
        unproved = driver.solve_box(values, mask, self.box, shape, signed, warm_start)
        if unproved is None:
            return None
        flipped = int(warm_start.counters[0])
        if unproved.position.size:
            flipped += self._solve_unproved(values, mask, unproved, as_scores)
        return flipped, int(warm_start.counters[1])

    def _solve_unproved(
        self,
        values: NDArray[Any],
        mask: NDArray[np.bool_],
        unproved: scratch.Unproved,
        as_scores: Any,
    ) -> int:
        """Solve what the engine left unproved; how many entries that changes."""
        shape, flat = self.shape, mask.reshape(-1)
        where = driver.entries(unproved, self._stride, shape)
        # Strips may overlap: each tile once.
        _, once = np.unique(where[:, 0, 0], return_index=True)
        where = where[once]
        start = unproved.start.reshape(-1, shape.m)[once]
        solved = solve_tiles(as_scores(values.reshape(-1)[where]), shape.n, True, start=start)
        flat[where] = solved
        strips = self.warm_start.unproved[: len(unproved.position)]
        _, word_rows = self._rows_and_words(strips)
        words = self.warm_start.words.reshape(-1, shape.halves)
        before = words[word_rows]
        self._store_words(mask, strips)
        octets = (before ^ words[word_rows]).view(np.uint8)
        changed = np.unpackbits(octets, axis=2, bitorder="little")
        return int(np.count_nonzero(changed & self._non_overlapping(strips)[:, None]))

    def _non_overlapping(self, strips: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The columns of some strips that no strip before them has, (K, strip columns)."""
        width = self.shape.m * self.shape.tiles
        first = np.arange(0, self.box[2].stop - self.box[2].start, width)
        overlap = np.maximum(first + width - (self.box[2].stop - self.box[2].start), 0)
        new: NDArray[np.bool_] = np.arange(width) >= overlap[strips % len(first)][:, None]
        return new

    def _store_words(self, mask: NDArray[np.bool_], strips: NDArray[np.int64]) -> None:
        """Copy the masks of some strips into the warm start's words."""
        where, word_rows = self._rows_and_words(strips)
        words = np.packbits(mask.reshape(-1)[where], axis=2, bitorder="little").view(np.int16)
        self.warm_start.words.reshape(-1, self.shape.halves)[word_rows] = words

    def _rows_and_words(
        self, strips: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of some strips' entries in the flat mask, and of their rows in the words."""
        shape = self.shape
        rows = self._strip_positions()[strips][:, None] + self._stride * np.arange(shape.m)
        word_rows = strips[:, None] * shape.m + np.arange(shape.m)
        return rows[:, :, None] + np.arange(shape.halves * ROW), word_rows

    def _strip_positions(self) -> NDArray[np.int64]:
        """The index of each strip's first entry in the flat array."""
        matrices, rows, columns = (np.arange(part.start, part.stop) for part in self.box)
        width = self.shape.m * self.shape.tiles
        across = np.minimum(columns[::width], columns[-1] + 1 - width)
        corner = (
            (matrices * self._height)[:, None, None] + rows[:: self.shape.m][None, :, None]
        ) * self._stride + across
        positions: NDArray[np.int64] = corner.ravel()
        return positions

    def write_prices(self, prices: Prices) -> None:
        """Write what the last solve found into the box's part of the prices of the batch."""
        shape, (matrices, rows, columns) = self.shape, self.box
        part = Prices(
            prices.rows[matrices, rows, columns.start // shape.m : columns.stop // shape.m],
            prices.columns[matrices, rows.start // shape.m : rows.stop // shape.m, columns],
        )
        _, down, width = part.columns.shape
        across, wide = -(-width // (shape.m * shape.tiles)), shape.m * shape.tiles
        u = self.warm_start.u.reshape(-1, down, across, shape.m, shape.tiles)
        v = self.warm_start.v.reshape(-1, down, across, wide)
        for strip in range(across):
            # The last strip overlaps the one before it where the columns don't fill it.
            first = min(strip * wide, width - wide)
            tile = first // shape.m
            rows_of_strip = u[:, :, strip].reshape(-1, down * shape.m, shape.tiles)
            part.rows[:, :, tile : tile + shape.tiles] = rows_of_strip
            part.columns[:, :, first : first + wide] = v[:, :, strip]

    def state(self) -> dict[str, NDArray[Any]]:
        """Plain arrays from which :meth:`restore` goes on."""
        warm_start = self.warm_start
        return {"u": warm_start.u.copy(), "v": warm_start.v.copy(), "warm": warm_start.valid.copy()}

    def restore(self, state: dict[str, NDArray[Any]], mask: NDArray[np.bool_]) -> None:
        """Go on from saved arrays and the mask that was solved with them."""
        warm_start = self.warm_start
        warm_start.u[:], warm_start.v[:], warm_start.valid[:] = (
            state[name] for name in ("u", "v", "warm")
        )
        round_potentials(warm_start)
        warm_start.valid[:] &= self._holds_n(mask)
        self.adopt(mask)

    def _holds_n(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The strips in which every row and column of every tile holds n."""
        shape = self.shape
        where, _ = self._rows_and_words(np.arange(scratch.strip_count(self.box, shape)))
        tiles = mask.reshape(-1)[where].reshape(len(where), shape.m, shape.tiles, shape.m)
        rows, columns = tiles.sum(axis=3) == shape.n, tiles.sum(axis=1) == shape.n
        full: NDArray[np.bool_] = rows.all(axis=(1, 2)) & columns.all(axis=(1, 2))
        return full

    def forget_potentials(self) -> None:
        """Start from nothing next time; until then there are no prices."""
        warm_start = self.warm_start
        warm_start.valid[:], warm_start.u[:], warm_start.v[:] = False, np.nan, np.nan

    def adopt(self, mask: NDArray[np.bool_]) -> None:
        """Take over a mask that was found in another way."""
        self._store_words(mask, np.arange(scratch.strip_count(self.box, self.shape)))


def contiguous_floats(batch: MatrixBatch) -> NDArray[Any] | None:
    """The batch as C-contiguous floats; None for integers and squares."""
    floats = batch.host.bfloat16 or batch.matrices.dtype.kind == "f"
    if not floats or batch.score == "square" or math.prod(batch.shape) == 0:
        return None
    matrices = batch.matrices
    if not matrices.dtype.isnative or not matrices.flags.aligned:
        matrices = matrices.astype(matrices.dtype.newbyteorder("="))
    return np.ascontiguousarray(matrices)
