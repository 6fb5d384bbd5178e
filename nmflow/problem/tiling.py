"""Weights <-> tiles: where the tiles of a matrix lie, ragged edges included.

A batch of matrices of shape (B, R, C) is cut into tiles, mostly m x m, from its upper left corner.
Where they don't divide R or C, the last tile row or column is partial. :func:`windows` covers the
batch with boxes in which all tiles have the same shape, each small enough to stay in a cache, so
that the memory in use does not grow with the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """A box of equal tiles in a batch of matrices.

    Attributes
    ----------
    box : tuple of slice
        Matrices, rows and columns.
    tile : tuple of int
        Rows and columns of each tile.
    full : bool
        Whether the tiles are whole. Full tiles keep exactly n in every row and column, others
        at most n.
    """

    box: tuple[slice, slice, slice]
    tile: tuple[int, int]
    full: bool

    @classmethod
    def whole(cls, shape: tuple[int, ...], tile: tuple[int, int], full: bool) -> Window:
        """All of a batch of that shape."""
        matrices, rows, columns = (slice(0, length) for length in shape)
        return cls((matrices, rows, columns), tile, full)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Matrices, tile rows and tile columns in the box."""
        b, r, c = (s.stop - s.start for s in self.box)
        return b, r // self.tile[0], c // self.tile[1]

    @property
    def columns(self) -> int:
        """Columns of the box."""
        columns: int = self.box[2].stop - self.box[2].start
        return columns

    @property
    def count(self) -> int:
        """Number of tiles."""
        b, i, j = self.grid
        return b * i * j

    def place(self, tile: tuple[int, ...], whole: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        """The matrix, and tile row and column in it, of one of the window's tiles (b, i, j).

        ``whole`` is the shape of a full tile.
        """
        matrices, rows, columns = (part.start for part in self.box)
        b, i, j = (int(k) for k in tile)
        return matrices + b, (rows // whole[0] + i, columns // whole[1] + j)

    def last_tiles(self, count: int) -> Window:
        """The last tiles of the box's last row of tiles."""
        matrices, rows, columns = (part.stop for part in self.box)
        height, width = self.tile
        box = (
            slice(matrices - 1, matrices),
            slice(rows - height, rows),
            slice(columns - count * width, columns),
        )
        return replace(self, box=box)

    def cut(self, part: NDArray[Any]) -> NDArray[Any]:
        """The tiles of ``batch[self.box]``, shape (count, r, c), as a contiguous copy."""
        (b, i, j), (r, c) = self.grid, self.tile
        blocks = part.reshape(b, i, r, j, c).transpose(0, 1, 3, 2, 4)
        return np.ascontiguousarray(blocks).reshape(-1, r, c)

    def paste(self, batch: NDArray[Any], tiles: NDArray[Any]) -> None:
        """Write tiles to their place in a whole batch."""
        (b, i, j), (r, c) = self.grid, self.tile
        blocks = tiles.reshape(b, i, j, r, c).transpose(0, 1, 3, 2, 4)
        batch[self.box] = blocks.reshape(b, i * r, j * c)


def as_tiles(part: NDArray[Any], tile: tuple[int, int]) -> NDArray[Any]:
    """Matrices (B, R, C) of whole tiles as tiles: a view (B, I, J, r, c)."""
    (b, rows, columns), (r, c) = part.shape, tile
    return part.reshape(b, rows // r, r, columns // c, c).swapaxes(2, 3)


def windows(
    shape: tuple[int, int, int], whole: tuple[int, int], entries: int = 1 << 16
) -> Iterator[Window]:
    """Cover a batch of matrices of the given shape with windows, each tile exactly once.

    ``whole`` is the shape of a full tile.
    """
    matrices, rows, columns = shape
    if 0 in shape:
        return
    for row_span, tile_rows in _spans(rows, whole[0]):
        for column_span, tile_columns in _spans(columns, whole[1]):
            tile = (tile_rows, tile_columns)
            for box in _boxes(matrices, row_span, column_span, tile, entries):
                yield Window(box, tile, full=tile == whole)


# Of windows that are read once: enough for what each call costs by itself, and so few that memory
# does not grow with the weights.
_FEWEST_ENTRIES, _MOST_ENTRIES = 1 << 17, 1 << 20


def shared_windows(
    shape: tuple[int, int, int], whole: tuple[int, int], threads: int
) -> Iterator[Window]:
    """As :func:`windows`, large ones, of which there is one for each thread."""
    share = math.prod(shape) // threads
    return windows(shape, whole, min(max(share, _FEWEST_ENTRIES), _MOST_ENTRIES))


def _spans(length: int, m: int) -> Iterator[tuple[slice, int]]:
    """The whole groups of an axis, then the partial one, each with its group length."""
    whole = length - length % m
    if whole:
        yield slice(0, whole), m
    if whole < length:
        yield slice(whole, length), length - whole


def _boxes(
    matrices: int, rows: slice, columns: slice, tile: tuple[int, int], entries: int
) -> Iterator[tuple[slice, slice, slice]]:
    """Split one region into boxes of about ``entries`` entries: many matrices, or a few tiles."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    column_step = _multiple(entries // tile[0], tile[1], width)
    row_step = _multiple(entries // column_step, tile[0], height)
    matrix_step = max(1, entries // (row_step * column_step))
    for b in range(0, matrices, matrix_step):
        for r in range(rows.start, rows.stop, row_step):
            for c in range(columns.start, columns.stop, column_step):
                yield (
                    slice(b, min(b + matrix_step, matrices)),
                    slice(r, min(r + row_step, rows.stop)),
                    slice(c, min(c + column_step, columns.stop)),
                )


def _multiple(wanted: int, unit: int, at_most: int) -> int:
    """The largest multiple of ``unit`` up to ``wanted`` and ``at_most``, at least one unit."""
    return max(unit, min(wanted, at_most) // unit * unit)
