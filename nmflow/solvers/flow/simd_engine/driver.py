"""What calls the SIMD engine: scratch memory, what can be read in place, and what is left.

Matrices are read where they lie if their rows are contiguous floats. Tiles of other layouts and
dtypes are copied side by side first.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.pointers import address_of, is_at_hand
from nmflow.compiling.sparing import PATIENCE, compiles_at_once
from nmflow.problem import ties
from nmflow.simd.tile_shape import LANES, ROW, TileShape, tile_shape
from nmflow.solvers.flow.simd_engine.fixed_point import (
    FIRST_SHIFT,
    FIXED_BITS,
    STAGE_SHIFTS,
    table_bits,
)
from nmflow.solvers.flow.simd_engine.kernel import NEEDS_SOLVER, KernelConfig, solve_full_tiles
from nmflow.solvers.flow.simd_engine.partial_tiles import solve_partial_batch
from nmflow.solvers.flow.simd_engine.schedule import relaxation_shifts, rounds
from nmflow.solvers.flow.simd_engine.single_tile.solver import solve_strip
from nmflow.solvers.flow.simd_engine.strips import Strips, aligned, new_strips
from nmflow.solvers.flow.simd_engine.tile_batch import TileBatch, new_tile_batch
from nmflow.solvers.flow.simd_engine.warm_start import WarmStart, new_warm_start

Box = tuple[slice, slice, slice]


class Unproved(NamedTuple):
    """Strips whose masks the engine could not prove.

    Attributes
    ----------
    position : (K,) index of the first entry of each in the flat array
    start : (K, columns of a strip) their column potentials, in the scores' units
    """

    position: NDArray[np.int64]
    start: NDArray[np.float64]


class _Scratch(NamedTuple):
    """What one call at a time works with, for one n:m, dtype and sign."""

    config: KernelConfig
    strips: Strips
    batch: TileBatch
    unproved: Unproved


_free_scratch: dict[Any, list[_Scratch]] = {}


def reads_in_place(values: NDArray[Any], columns: int, m: int) -> bool:
    """Whether full tiles of floats that cover so many columns can be read where they lie."""
    plain = values.dtype.isnative and values.flags.aligned and values.flags.c_contiguous
    return bool(plain and columns >= -(-m // ROW) * ROW)


def tiles_near_end(values: NDArray[Any], box: Box, shape: TileShape) -> int:
    """How many tiles at the end of a box are too near the array's end to be read in place.

    Rows are read 16 entries at a time; what follows a narrower tile is ignored, but must be there.
    """
    _, height, stride = values.shape
    width = shape.m * shape.tiles
    last_row = (box[0].stop - 1) * height + box[1].stop - 1
    behind = last_row * stride + box[2].stop - width + shape.halves * ROW - values.size
    return int(max(0, -(-behind // width)))


def solve_box(
    values: NDArray[Any],
    mask: NDArray[np.bool_],
    box: Box,
    shape: TileShape,
    signed: bool,
    warm_start: WarmStart | None = None,
) -> Unproved | None:
    """Write the masks of the full tiles in a box of a batch of matrices.

    All but the last :func:`tiles_near_end`.

    Parameters
    ----------
    values, mask : ndarray, shape (B, R, C), C-contiguous
        Floats, or the bit patterns of bfloat16 as uint16. The mask is written.
    box : tuple of slice
        Matrices, rows and columns.
    shape : TileShape
    signed : bool
        Whether the values are the scores; or else their magnitudes are.
    warm_start : WarmStart, optional
        From :func:`warm_start_of` for this box; starts from what the last solve left there, and
        writes only what differs from its masks.

    Returns
    -------
    Unproved or None
        The strips still to be solved, whose masks mean nothing yet; None if some value is not
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
    total = strip_count(box, shape) - tiles_near_end(values, box, shape)
    kind = np.float32 if values.dtype.itemsize <= np.dtype(np.float32).itemsize else np.float64
    key = shape, kind, signed
    free = _free_scratch.setdefault(key, [])
    scratch = free.pop() if free else _new_scratch(*key)
    if len(scratch.unproved.position) < total:
        scratch = scratch._replace(
            unproved=Unproved(np.empty(total, np.int64), np.empty((total, width)))
        )
    # A warm start counts what changes, once: nothing may be solved twice.
    solver = _strip_solver(scratch, shape, needed=warm_start is not None)
    scratch.config.update(stride=stride, strip_solver=solver)
    args = (
        flat,
        mask.reshape(-1)[first:].view(np.uint8),
        (height * stride, rows, columns),
        total,
        scratch.config,
        scratch.strips,
        scratch.batch,
        shape,
        True if signed else None,
        *scratch.unproved,
        warm_start,
    )
    count = solve_full_tiles(*args)
    if count == NEEDS_SOLVER:
        scratch.config.update(strip_solver=_strip_solver(scratch, shape, needed=True))
        count = solve_full_tiles(*args)
    unproved = None
    if count >= 0:
        _left_over[shape.m] += count * shape.m * width
        unproved = Unproved(
            scratch.unproved.position[:count] + first, scratch.unproved.start[:count].copy()
        )
    free.append(scratch)
    return unproved


def solve_partial_tiles(
    scores: NDArray[np.float64],
    n: int,
    mask: NDArray[np.bool_],
    proved: NDArray[np.bool_],
    start: NDArray[np.float64],
) -> None:
    """As :func:`nmflow.solvers.flow.simd_engine.partial_tiles.solve_partial_batch`."""
    shape = tile_shape(n, max(scores.shape[1:]))
    m = shape.m
    lanes, *lines = (aligned(k * m * LANES, np.int16) for k in (m + 1, 1, 1, 1))
    solve_partial_batch(scores, lanes, *lines, shape, relaxation_shifts(m)[0], mask, proved, start)


def strip_count(box: Box, shape: TileShape) -> int:
    """How many strips a box has."""
    matrices, rows, columns = (part.stop - part.start for part in box)
    return int(matrices * (rows // shape.m) * -(-columns // (shape.m * shape.tiles)))


def warm_start_of(box: Box, shape: TileShape) -> WarmStart:
    """A warm start for a box that was never solved."""
    return new_warm_start(shape, strip_count(box, shape))


def entries(unproved: Unproved, stride: int, shape: TileShape) -> NDArray[np.int64]:
    """The indices of all entries of the strips' tiles in the flat array, (T, m, m)."""
    m = shape.m
    corner = unproved.position[:, None] + m * np.arange(shape.tiles)
    inside = stride * np.arange(m)[:, None] + np.arange(m)
    index: NDArray[np.int64] = corner.reshape(-1, 1, 1) + inside
    return index


def side_by_side(tiles: NDArray[Any], shape: TileShape) -> NDArray[Any]:
    """Copy tiles (T, m, m) into one matrix (1, m, C), next to each other.

    Zeros behind the last tile let it be read in place.
    """
    count, m, _ = tiles.shape
    whole = -(-count // shape.tiles) * shape.tiles * m
    behind = shape.halves * ROW - m if shape.tiles == 1 else 0
    matrix = np.zeros((1, m, whole + behind), tiles.dtype)
    matrix[0, :, : count * m] = tiles.transpose(1, 0, 2).reshape(m, count * m)
    return matrix


_strip_solvers: dict[int, int] = {}
_left_over: Counter[int] = Counter()
_PATIENCE = PATIENCE // 2
"""Entries that go to the scalar fallback before the strip solver, which spares it most, pays: it is
compiled in less time than the fallback, and so before that is."""


def _strip_solver(scratch: _Scratch, shape: TileShape, *, needed: bool) -> int:
    """The address of the strip solver for tiles of that m; 0 where it would have to be compiled.

    Strips that it is rarely asked for go to the scalar fallback instead.
    """
    m = shape.m
    known = m in _strip_solvers
    needed = needed or compiles_at_once() or _left_over[m] > _PATIENCE
    if not known or (needed and not _strip_solvers[m]):
        config, strips, batch = scratch.config, scratch.strips, scratch.batch
        args = (
            config.tables, strips.u, strips.v, 0, False, 0, batch, False, 0, 0, False, False,
            shape.any_n,
        )  # fmt: skip
        at_hand = needed or is_at_hand(solve_strip, args)
        _strip_solvers[m] = address_of(solve_strip, args) if at_hand else 0
    return _strip_solvers[m]


def _new_scratch(shape: TileShape, kind: Any, signed: bool) -> _Scratch:
    m = shape.m
    tables = np.zeros((ties.TABLES, m, shape.halves * ROW), np.int32)
    for first in range(0, tables.shape[2] - m + 1, m):
        for index in range(ties.TABLES):
            tables[index, :, first : first + m] = ties.table(index, m, m)
    # Magnitudes are moved down by half their range, so that the window shows all of them.
    window_center = 0 if signed else 1 << (FIXED_BITS - FIRST_SHIFT - 1)
    config = KernelConfig(
        stride=0,
        tables=tables.ravel(),
        table_bits=table_bits(m),
        fixed_bits=FIXED_BITS - signed,
        window_center=window_center,
        stage_shifts=np.array(STAGE_SHIFTS),
        stage_rounds=np.array(rounds(m)),
        relaxation_shifts=np.array(relaxation_shifts(m)).ravel(),
        strip_solver=0,
    )
    unproved = Unproved(np.empty(0, np.int64), np.empty((0, m * shape.tiles)))
    return _Scratch(config, new_strips(shape, kind), new_tile_batch(shape), unproved)
