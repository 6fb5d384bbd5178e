"""What a call of the engine works with: arrays as kernels take them, and scratch memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.problem import ties
from nmflow.simd.tile_shape import ROW, TileShape
from nmflow.solvers.flow.simd_engine.at_most.prices import Bounds, new_bounds
from nmflow.solvers.flow.simd_engine.fixed_point import (
    FIRST_SHIFT,
    FIXED_BITS,
    STAGE_SHIFTS,
    table_bits,
)
from nmflow.solvers.flow.simd_engine.kernel import KernelConfig
from nmflow.solvers.flow.simd_engine.schedule import relaxation_shifts, rounds
from nmflow.solvers.flow.simd_engine.strips import Strips, new_strips
from nmflow.solvers.flow.simd_engine.tile_batch import TileBatch, new_tile_batch

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


class Scratch(NamedTuple):
    """What one call at a time works with, for one n:m, dtype and sign."""

    config: KernelConfig
    strips: Strips
    batch: TileBatch
    bounds: Bounds
    unproved: Unproved


free_scratch: dict[Any, list[Scratch]] = {}


def tiles_near_end(values: NDArray[Any], box: Box, shape: TileShape) -> int:
    """How many tiles at the end of a box are too near the array's end to be read in place.

    Rows are read 16 entries at a time; what follows a narrower tile is ignored, but must be there.
    """
    _, height, stride = values.shape
    width = shape.m * shape.tiles
    last_row = (box[0].stop - 1) * height + box[1].stop - 1
    behind = last_row * stride + box[2].stop - width + shape.halves * ROW - values.size
    return int(max(0, -(-behind // width)))


def strip_count(box: Box, shape: TileShape) -> int:
    """How many strips a box has."""
    matrices, rows, columns = (part.stop - part.start for part in box)
    return int(matrices * (rows // shape.m) * -(-columns // (shape.m * shape.tiles)))


class FlatView(NamedTuple):
    """A box of a batch of matrices as kernels take it.

    Attributes
    ----------
    arguments : the flat arrays of values and of the mask from the box on; entries from a matrix to
        the next, and rows and columns in each; and how many strips there are
    first : index of the box's first entry
    """

    arguments: tuple[Any, ...]
    first: int

    @property
    def strips(self) -> int:
        """How many strips there are."""
        return int(self.arguments[-1])


def flat_view(
    values: NDArray[Any], mask: NDArray[np.bool_], box: Box, shape: TileShape
) -> FlatView:
    """The box of a batch of matrices, without the tiles near the array's end."""
    _, height, stride = values.shape
    _, rows, columns = (part.stop - part.start for part in box)
    first = (box[0].start * height + box[1].start) * stride + box[2].start
    flat = values.reshape(-1)[first:]
    flat = flat.view(np.int16 if flat.dtype == np.float16 else flat.dtype)
    # To the compiler a read-only array is of another type: let all be.
    flat.flags.writeable = False
    total = strip_count(box, shape) - tiles_near_end(values, box, shape)
    flat_mask = mask.reshape(-1)[first:].view(np.uint8)
    return FlatView((flat, flat_mask, (height * stride, rows, columns), total), first)


def with_room(scratch: Scratch, total: int, shape: TileShape) -> Scratch:
    """The scratch memory, with room for so many unproved strips."""
    if len(scratch.unproved.position) >= total:
        return scratch
    start = np.empty((total, shape.m * shape.tiles))
    return scratch._replace(unproved=Unproved(np.empty(total, np.int64), start))


def give_back(scratch: Scratch, free: list[Scratch], count: int, view: FlatView) -> Unproved | None:
    """What is unproved; None if a value was not finite. The scratch memory is free again."""
    unproved = None
    if count >= 0:
        found = scratch.unproved
        unproved = Unproved(found.position[:count] + view.first, found.start[:count].copy())
    free.append(scratch)
    return unproved


def new_scratch(shape: TileShape, kind: Any, signed: bool, at_most: bool = False) -> Scratch:
    """Scratch memory for floats that are widened to that type."""
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
        stages=len(STAGE_SHIFTS),
        stage_shifts=np.array(STAGE_SHIFTS),
        stage_rounds=np.array(rounds(m, at_most)),
        relaxations=len(relaxation_shifts(m)),
        relaxation_shifts=np.array(relaxation_shifts(m)).ravel(),
        strip_solver=0,
    )
    unproved = Unproved(np.empty(0, np.int64), np.empty((0, m * shape.tiles)))
    return Scratch(
        *(config, new_strips(shape, kind), new_tile_batch(shape), new_bounds(shape)),
        unproved=unproved,
    )
