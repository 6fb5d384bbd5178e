"""What calls the kernels of tiles that hold at most n."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.simd.tile_shape import LANES, TileShape, tile_shape
from nmflow.solvers.flow.simd_engine.at_most.kernel import solve_at_most
from nmflow.solvers.flow.simd_engine.at_most.partial_tiles import solve_partial_batch
from nmflow.solvers.flow.simd_engine.at_most.prices import new_bounds
from nmflow.solvers.flow.simd_engine.schedule import relaxation_shifts
from nmflow.solvers.flow.simd_engine.scratch import (
    Box,
    Unproved,
    flat_view,
    free_scratch,
    give_back,
    new_scratch,
    with_room,
)
from nmflow.solvers.flow.simd_engine.strips import aligned


def solve_box_at_most(
    values: NDArray[Any], mask: NDArray[np.bool_], box: Box, shape: TileShape
) -> Unproved | None:
    """As :func:`nmflow.solvers.flow.simd_engine.driver.solve_box`, of scores, with at most n.

    Entries of negative scores are not kept.
    """
    view = flat_view(values, mask, box, shape)
    kind = np.float32 if values.dtype.itemsize <= np.dtype(np.float32).itemsize else np.float64
    free = free_scratch.setdefault((shape, kind, "at most"), [])
    scratch = with_room(free.pop() if free else new_scratch(shape, kind, True), view.strips, shape)
    scratch.config.update(stride=values.shape[2])
    count = solve_at_most(
        *view.arguments,
        *(scratch.config, scratch.strips, scratch.batch),
        new_bounds(shape),
        shape,
        *scratch.unproved,
    )
    return give_back(scratch, free, count, view)


def solve_partial_tiles(
    scores: NDArray[np.float64],
    n: int,
    mask: NDArray[np.bool_],
    proved: NDArray[np.bool_],
    start: NDArray[np.float64],
) -> None:
    """As :func:`nmflow.solvers.flow.simd_engine.at_most.partial_tiles.solve_partial_batch`."""
    shape = tile_shape(n, max(scores.shape[1:]))
    m = shape.m
    lanes, *lines = (aligned(k * m * LANES, np.int16) for k in (m + 1, 1, 1, 1))
    solve_partial_batch(scores, lanes, *lines, shape, relaxation_shifts(m)[0], mask, proved, start)
