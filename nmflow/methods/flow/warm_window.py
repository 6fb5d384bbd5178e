"""One window of a tracked stack: solved from what the last solve of it left behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.methods.flow.method import solve_tiles
from nmflow.methods.flow.simd_engine import driver
from nmflow.methods.flow.simd_engine.warm_start import Memory, put_on_grid
from nmflow.problem.batch import MatrixStack
from nmflow.simd.tile_shape import ROW, TileShape


class WarmBox:
    """Full tiles of a box that the lane engine reads in place, and its memory of them."""

    def __init__(self, box: driver.Box, shape: TileShape, height: int, stride: int) -> None:
        self.box = box
        self.shape = shape
        self.memory: Memory = driver.memory_of(box, shape)
        self._height, self._stride = height, stride

    def begin(self, mask: NDArray[np.bool_]) -> Callable[[], None]:
        """What takes the mask, and what is known of it, back to how they are now."""
        words, warm = self.memory.words.copy(), self.memory.warm.copy()

        def back() -> None:
            self.memory.words[:], self.memory.warm[:] = words, warm
            where, home = self._homes(np.arange(driver.piece_count(self.box, self.shape)))
            octets = self.memory.words.reshape(-1, self.shape.halves)[home].view(np.uint8)
            mask.reshape(-1)[where] = np.unpackbits(octets, axis=2, bitorder="little")

        return back

    def update(
        self,
        values: NDArray[Any],
        mask: NDArray[np.bool_],
        signed: bool,
        as_scores: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> tuple[int, int] | None:
        """Bring the mask up to date; how many entries flipped, and tiles settled at once.

        None if some value is not finite: then :meth:`begin` says how to go back.
        """
        memory, shape = self.memory, self.shape
        memory.counters[:] = 0
        left = driver.solve_box(values, mask, self.box, shape, signed, memory)
        if left is None:
            return None
        flipped = int(memory.counters[0])
        if left.position.size:
            flipped += self._finish(values, mask, left, as_scores)
        return flipped, int(memory.counters[1])

    def _finish(
        self, values: NDArray[Any], mask: NDArray[np.bool_], left: driver.Left, as_scores: Any
    ) -> int:
        """Solve what the engine left open; how many entries that flips."""
        shape, flat = self.shape, mask.reshape(-1)
        where = driver.entries(left, self._stride, shape)
        # Pieces may overlap: each tile once.
        _, once = np.unique(where[:, 0, 0], return_index=True)
        where = where[once]
        start = left.start.reshape(-1, shape.m)[once]
        solved = solve_tiles(as_scores(values.reshape(-1)[where]), shape.n, True, start=start)
        flat[where] = solved
        pieces = self.memory.left[: len(left.position)]
        _, home = self._homes(pieces)
        words = self.memory.words.reshape(-1, shape.halves)
        before = words[home]
        self._note(mask, pieces)
        octets = (before ^ words[home]).view(np.uint8)
        changed = np.unpackbits(octets, axis=2, bitorder="little")
        return int(np.count_nonzero(changed & self._own(pieces)[:, None]))

    def _own(self, pieces: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which columns of some pieces no piece before them has: the last of a row may overlap."""
        width = self.shape.m * self.shape.tiles
        first = np.arange(0, self.box[2].stop - self.box[2].start, width)
        overlap = np.maximum(first + width - (self.box[2].stop - self.box[2].start), 0)
        own: NDArray[np.bool_] = np.arange(width) >= overlap[pieces % len(first)][:, None]
        return own

    def _note(self, mask: NDArray[np.bool_], pieces: NDArray[np.int64]) -> None:
        """Copy the masks of some pieces into the memory's words."""
        where, home = self._homes(pieces)
        words = np.packbits(mask.reshape(-1)[where], axis=2, bitorder="little").view(np.int16)
        self.memory.words.reshape(-1, self.shape.halves)[home] = words

    def _homes(self, pieces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the entries of some pieces lie in the flat mask, and their rows in the words."""
        shape = self.shape
        rows = self._positions()[pieces][:, None] + self._stride * np.arange(shape.m)
        home = pieces[:, None] * shape.m + np.arange(shape.m)
        return rows[:, :, None] + np.arange(shape.halves * ROW), home

    def _positions(self) -> NDArray[np.int64]:
        """Where each piece begins in the flat array."""
        matrices, rows, columns = (np.arange(part.start, part.stop) for part in self.box)
        width = self.shape.m * self.shape.tiles
        across = np.minimum(columns[::width], columns[-1] + 1 - width)
        corner = (
            (matrices * self._height)[:, None, None] + rows[:: self.shape.m][None, :, None]
        ) * self._stride + across
        positions: NDArray[np.int64] = corner.ravel()
        return positions

    def state(self) -> dict[str, NDArray[Any]]:
        """Plain arrays from which :meth:`restore` goes on."""
        memory = self.memory
        return {"u": memory.u.copy(), "v": memory.v.copy(), "warm": memory.warm.copy()}

    def restore(self, state: dict[str, NDArray[Any]], mask: NDArray[np.bool_]) -> None:
        """Go on from saved arrays and the mask that was solved with them."""
        memory = self.memory
        memory.u[:], memory.v[:], memory.warm[:] = (state[name] for name in ("u", "v", "warm"))
        put_on_grid(memory)
        memory.warm[:] &= self._holds_n(mask)
        self.follow(mask)

    def _holds_n(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """In which pieces every row and column of every tile holds n."""
        shape = self.shape
        where, _ = self._homes(np.arange(driver.piece_count(self.box, shape)))
        tiles = mask.reshape(-1)[where].reshape(len(where), shape.m, shape.tiles, shape.m)
        rows, columns = tiles.sum(axis=3) == shape.n, tiles.sum(axis=1) == shape.n
        full: NDArray[np.bool_] = rows.all(axis=(1, 2)) & columns.all(axis=(1, 2))
        return full

    def follow(self, mask: NDArray[np.bool_]) -> None:
        """Take over a mask that was found in another way."""
        self._note(mask, np.arange(driver.piece_count(self.box, self.shape)))


def plain(stack: MatrixStack) -> NDArray[Any] | None:
    """The stack as C-contiguous floats; None for integers and squares."""
    floats = stack.host.bfloat16 or stack.matrices.dtype.kind == "f"
    if not floats or stack.score == "square" or math.prod(stack.shape) == 0:
        return None
    matrices = stack.matrices
    if not matrices.dtype.isnative or not matrices.flags.aligned:
        matrices = matrices.astype(matrices.dtype.newbyteorder("="))
    return np.ascontiguousarray(matrices)
