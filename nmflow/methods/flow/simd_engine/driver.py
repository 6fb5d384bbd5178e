"""Tiles solved side by side in vectors: where they lie in memory, and what is left of them.

The engine of :mod:`nmflow.methods.flow.simd_engine.kernel` reads matrices in place where their rows are
contiguous floats. Tiles of other layouts and dtypes are laid side by side in a strip first.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.methods.flow.simd_engine.kernel import Problem, solve_lanes
from nmflow.methods.flow.simd_engine.partial_tiles import settle_partial
from nmflow.methods.flow.simd_engine.read import FIXED_BITS
from nmflow.methods.flow.simd_engine.single_tile import TABLES
from nmflow.methods.flow.simd_engine.strips import FIRST_SHIFT, Pieces, aligned, new_pieces
from nmflow.methods.flow.simd_engine.tile_batch import Panel, new_panel
from nmflow.methods.flow.simd_engine.warm_start import Memory, new_memory
from nmflow.problem import ties
from nmflow.simd.tile_shape import LANES, ROW, TileShape, tile_shape

# Low bits that each stage leaves out. The second is for tiles of 4 x 4, of which the
# first looks at all masks and finds no potentials. After that the window narrows slowly at first:
# the optimum must be in sight, and the potentials are least certain there.
_SHIFTS = np.array([FIRST_SHIFT, FIRST_SHIFT, 12, 9, 5, 1])
# Rounds of ascent by m: of fresh pieces, of pieces from the queue, of fresh ones where ties are
# likely (there a round costs less than the tiles that it settles cost one by one, unless m is
# large), and of remembered ones, which have less far to go.
_ROUNDS = {4: (6, 10, 9, 6), 8: (6, 6, 9, 4), 16: (8, 6, 11, 4), 32: (11, 7, 10, 5)}
# What of a move is added to it, by m: the larger the tiles, the more rounds it has to reach far.
# Where ties are likely it is more to begin with, and multiplied by the last number each round.
_SHARES = {8: (0.25, 0.5, 1.0), 16: (0.625, 1.35, 0.9), 32: (0.75, 1.35, 0.9)}
# Rounds after which it stays what it is.
_LONGEST = 16


Box = tuple[slice, slice, slice]


class Left(NamedTuple):
    """Pieces that the engine leaves open: where they begin, and their column potentials."""

    position: NDArray[np.int64]
    start: NDArray[np.float64]


class _Room(NamedTuple):
    """Working memory of one call at a time, for one n:m."""

    problem: Problem
    pieces: Pieces
    panel: Panel
    left: Left


_free_rooms: dict[Any, list[_Room]] = {}


def reads_in_place(values: NDArray[Any], columns: int, m: int) -> bool:
    """Whether full tiles of floats that cover so many columns can be read where they are."""
    plain = values.dtype.isnative and values.flags.aligned and values.flags.c_contiguous
    return bool(plain and columns >= -(-m // ROW) * ROW)


def tiles_beyond(values: NDArray[Any], box: Box, shape: TileShape) -> int:
    """How many tiles at the end of a box are too near the array's end to be read in place.

    Rows of tiles are read 16 entries at a time, and what follows a narrower tile is ignored.
    """
    _, height, stride = values.shape
    width = shape.m * shape.tiles
    last_row = (box[0].stop - 1) * height + box[1].stop - 1
    beyond = last_row * stride + box[2].stop - width + shape.halves * ROW - values.size
    return int(max(0, -(-beyond // width)))


def solve_box(
    values: NDArray[Any],
    mask: NDArray[np.bool_],
    box: Box,
    shape: TileShape,
    signed: bool,
    memory: Memory | None = None,
) -> Left | None:
    """Write the masks of the full tiles that make up a box of a stack of matrices.

    All but the last :func:`tiles_beyond`.

    Parameters
    ----------
    values, mask : ndarray, shape (B, R, C), C-contiguous
        Floats, or the bit patterns of bfloat16 as uint16. The mask is written.
    box : tuple of slice
        Matrices, rows and columns.
    shape : TileShape
    signed : bool
        Whether the values are the scores; or else their magnitudes are.
    memory : Memory, optional
        From :func:`memory_of` for this box; starts from what the last solve left there, and
        writes only what differs from its masks.

    Returns
    -------
    Left or None
        The pieces still to be solved, whose masks mean nothing yet; None if some value is not
        finite.
    """
    _, height, stride = values.shape
    _, rows, columns = (part.stop - part.start for part in box)
    first = (box[0].start * height + box[1].start) * stride + box[2].start
    flat = values.reshape(-1)[first:]
    flat = flat.view(np.int16 if flat.dtype == np.float16 else flat.dtype)
    # To the compiler a read-only array is of another type: let all be.
    flat.flags.writeable = False
    width = shape.m * shape.tiles
    total = piece_count(box, shape) - tiles_beyond(values, box, shape)
    kind = np.float32 if values.dtype.itemsize <= np.dtype(np.float32).itemsize else np.float64
    key = shape, kind, signed
    free = _free_rooms.setdefault(key, [])
    room = free.pop() if free else _new_room(*key)
    if len(room.left.position) < total:
        room = room._replace(left=Left(np.empty(total, np.int64), np.empty((total, width))))
    count = solve_lanes(
        flat,
        mask.reshape(-1)[first:].view(np.uint8),
        (height * stride, rows, columns),
        total,
        room.problem._replace(stride=stride),
        room.pieces,
        room.panel,
        shape,
        True if signed else None,
        room.left.position,
        room.left.start,
        memory,
    )
    left = None
    if count >= 0:
        left = Left(room.left.position[:count] + first, room.left.start[:count].copy())
    free.append(room)
    return left


def settle_edges(
    scores: NDArray[np.float64],
    n: int,
    mask: NDArray[np.bool_],
    settled: NDArray[np.bool_],
    start: NDArray[np.float64],
) -> None:
    """As :func:`nmflow.methods.flow.simd_engine.partial_tiles.settle_partial`."""
    shape = tile_shape(n, max(scores.shape[1:]))
    m = shape.m
    lanes, *lines = (aligned(k * m * LANES, np.int16) for k in (m + 1, 1, 1, 1))
    settle_partial(scores, lanes, *lines, shape, _shares(m)[0], mask, settled, start)


def piece_count(box: Box, shape: TileShape) -> int:
    """How many pieces a box has."""
    matrices, rows, columns = (part.stop - part.start for part in box)
    return int(matrices * (rows // shape.m) * -(-columns // (shape.m * shape.tiles)))


def memory_of(box: Box, shape: TileShape) -> Memory:
    """Memory for a box that was never solved."""
    return new_memory(shape, piece_count(box, shape))


def _of_size(m: int, choices: dict[int, Any]) -> Any:
    return next(choice for size, choice in choices.items() if m <= size)


@functools.cache
def _shares(m: int) -> tuple[tuple[int, int], ...]:
    """Of each round, as ``ascent.relaxed_midpoint`` takes it; the last ones are for ties."""
    usual, first, decay = _of_size(m, _SHARES)
    shares = usual, *(first * decay**k for k in range(_LONGEST))
    return tuple(_shifts(share) for share in shares)


def _shifts(share: float) -> tuple[int, int]:
    """The two powers of two whose sum is nearest, as shifts of 16 bits to the right."""
    pairs = itertools.combinations_with_replacement(range(16), 2)
    return min(pairs, key=lambda pair: abs(0.5 ** pair[0] + 0.5 ** pair[1] - share))


def entries(left: Left, stride: int, shape: TileShape) -> NDArray[np.int64]:
    """Where in the flat array the entries of the pieces' tiles lie, (T, m, m)."""
    m = shape.m
    corner = left.position[:, None] + m * np.arange(shape.tiles)
    inside = stride * np.arange(m)[:, None] + np.arange(m)
    index: NDArray[np.int64] = corner.reshape(-1, 1, 1) + inside
    return index


def strip(tiles: NDArray[Any], shape: TileShape) -> NDArray[Any]:
    """Tiles (T, m, m) side by side as one matrix (1, m, C), behind them zeros to read past them."""
    count, m, _ = tiles.shape
    whole = -(-count // shape.tiles) * shape.tiles * m
    beyond = shape.halves * ROW - m if shape.tiles == 1 else 0
    side_by_side = np.zeros((1, m, whole + beyond), tiles.dtype)
    side_by_side[0, :, : count * m] = tiles.transpose(1, 0, 2).reshape(m, count * m)
    return side_by_side


def _new_room(shape: TileShape, kind: Any, signed: bool) -> _Room:
    m = shape.m
    tables = np.zeros((TABLES, m, shape.halves * ROW), np.int32)
    for first in range(0, tables.shape[2] - m + 1, m):
        for index in range(TABLES):
            tables[index, :, first : first + m] = ties.table(index, m, m)
    # Magnitudes are moved down by half their range, so that the window shows all of them.
    center = 0 if signed else 1 << (FIXED_BITS - FIRST_SHIFT - 1)
    problem = Problem(
        stride=0,
        tables=tables.ravel(),
        table_bits=ties.TABLE_BITS + (m - 1).bit_length(),
        fixed_bits=FIXED_BITS - signed,
        center=center,
        shifts=_SHIFTS,
        rounds=np.array(_of_size(m, _ROUNDS)),
        shares=np.array(_shares(m)).ravel(),
    )
    left = Left(np.empty(0, np.int64), np.empty((0, m * shape.tiles)))
    return _Room(problem, new_pieces(shape, kind), new_panel(shape), left)
