"""One window of a tracked stack: solved from what the last solve of it left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.kernels.finite import LINE, largest_magnitude
from nmflow.kernels.lanes_memory import Memory
from nmflow.simd.static import LANES, ROW, TileShape
from nmflow.solvers import lanes
from nmflow.solvers.flow import solve_tiles

_NUMBERS: dict[Any, tuple[Any, int]] = {
    np.dtype(np.float64): (np.int64, 0x7FF0000000000000),
    np.dtype(np.float32): (np.int32, 0x7F800000),
    np.dtype(np.float16): (np.int16, 0x7C00),
    np.dtype(np.uint16): (np.int16, 0x7F80),
}


def is_finite(values: NDArray[Any]) -> bool:
    """Whether C-contiguous floats (bfloat16 as uint16) hold neither NaN nor infinity."""
    kind, infinity = _NUMBERS[values.dtype]
    if values.nbytes < 2 * LINE:
        magnitudes = values.reshape(-1).view(kind) & np.iinfo(kind).max
        return bool((magnitudes < infinity).all())
    bits = values.reshape(-1).view(kind)
    bits.flags.writeable = False
    return bool(largest_magnitude(bits, np.iinfo(kind).max) < infinity)


class WarmBox:
    """Full tiles of a box that the lane engine reads in place, and its memory of them."""

    def __init__(self, box: lanes.Box, shape: TileShape, height: int, stride: int) -> None:
        self.box = box
        self.shape = shape
        self.memory: Memory = lanes.memory_of(box, shape)
        self._height, self._stride = height, stride

    def update(
        self,
        values: NDArray[Any],
        mask: NDArray[np.bool_],
        signed: bool,
        as_scores: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> tuple[int, int]:
        """Bring the mask up to date; how many entries flipped, and tiles settled at once."""
        memory, shape = self.memory, self.shape
        memory.counters[:2] = 0
        left = lanes.solve_box(values, mask, self.box, shape, signed, memory)
        assert left is not None, "the caller has looked for NaN"
        flipped = int(memory.counters[0])
        if left.position.size:
            flipped += self._finish(values, mask, left, as_scores)
        return flipped, int(memory.counters[1])

    def _finish(
        self, values: NDArray[Any], mask: NDArray[np.bool_], left: lanes.Left, as_scores: Any
    ) -> int:
        """Solve what the engine left open; how many entries that flips."""
        shape, flat = self.shape, mask.reshape(-1)
        where = lanes.entries(left, self._stride, shape)
        # Pieces may overlap: each tile once.
        _, once = np.unique(where[:, 0, 0], return_index=True)
        where = where[once]
        start = left.start.reshape(-1, shape.m)[once]
        solved = solve_tiles(as_scores(values.reshape(-1)[where]), shape.n, True, start=start)
        flipped = int(np.count_nonzero(flat[where] != solved))
        flat[where] = solved
        self._note(mask, self.memory.left[: len(left.position)])
        return flipped

    def _note(self, mask: NDArray[np.bool_], pieces: NDArray[np.int64]) -> None:
        """Copy the masks of some pieces into the memory's words."""
        shape, memory = self.shape, self.memory
        rows = self._positions()[pieces][:, None] + self._stride * np.arange(shape.m)
        bits = mask.reshape(-1)[rows[:, :, None] + np.arange(shape.halves * ROW)]
        words = np.packbits(bits, axis=2, bitorder="little").view(np.int16)
        panel, slot = np.divmod(pieces, shape.pieces)
        home = (panel[:, None] * shape.m + np.arange(shape.m)) * LANES + slot[:, None]
        memory.words.reshape(-1, shape.halves)[home] = words

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
        kept = ("u", "v", "exponent", "warm", "counters")
        return {name: getattr(self.memory, name).copy() for name in kept}

    def restore(self, state: dict[str, NDArray[Any]], mask: NDArray[np.bool_]) -> None:
        """Go on from saved arrays and the mask that was solved with them."""
        for name, values in state.items():
            getattr(self.memory, name)[:] = values
        self.memory.counters[2] = np.clip(self.memory.counters[2], 1, self.memory.counters[3])
        self.follow(mask)

    def follow(self, mask: NDArray[np.bool_]) -> None:
        """Take over a mask that was found in another way."""
        self._note(mask, np.arange(lanes.piece_count(self.box, self.shape)))
