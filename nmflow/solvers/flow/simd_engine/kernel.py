"""The main loop of the SIMD engine: batches of 32 tiles from the matrix to the mask.

A batch is read from the matrices, solved by dual ascent and written as masks. Strips that hold an
unproved tile wait in a queue until they fill a batch; their next stage looks at the same scores
through a narrower window around the potentials found so far. Strips where ties are likely do not
wait: their unproved tiles are solved one by one (:mod:`single_tile`), as are the last few, which no
others would join. What is then unproved goes to the scalar fallback, with its potentials.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, inlined
from nmflow.compiling.structs import Struct
from nmflow.solvers.flow.simd_engine.cursor import advance_by, next_strips, plan_prefetch
from nmflow.solvers.flow.simd_engine.enumeration import enumerates
from nmflow.solvers.flow.simd_engine.queue import dequeue, requeue
from nmflow.solvers.flow.simd_engine.read import read_first_stage, read_window
from nmflow.solvers.flow.simd_engine.schedule import FRESH, QUEUED, TIED, WARM
from nmflow.solvers.flow.simd_engine.single_tile.unproved import solve_unproved
from nmflow.solvers.flow.simd_engine.strips import copy_strip, reset_potentials
from nmflow.solvers.flow.simd_engine.tile_batch import (
    all_proved,
    ascend_batch,
    clear_potentials,
    reject_saturated,
    solve_fresh,
    write_masks,
)
from nmflow.solvers.flow.simd_engine.warm_start import load_potentials

NOT_FINITE, NEEDS_SOLVER = -1, -2
"""What the kernel returns instead of a count, its work undone."""
PATIENCE = 8
"""Strips that may want the strip solver where it is not compiled, and do without."""
PREFETCHED_BATCHES = 2
"""Prefetch distance of 4 x 4 tiles, which are solved sooner than memory answers."""


class KernelConfig(Struct, pointers=True):
    """How scores are read, and how long each stage ascends.

    Attributes
    ----------
    stride : entries from one matrix row to the next
    tables : (tables * m * halves * 16,) the tie tables, repeated for all tiles of a strip
    table_bits : of the sum of a table's entries over m entries
    fixed_bits : of a score's magnitude in fixed point
    window_center : what the first stage takes off each of its integers, to fit an int16
    stages : int
    stage_shifts : (stages,) the low bits of the fixed point that each stage leaves out
    stage_rounds : (4,) rounds of ascent: :class:`schedule.Rounds`
    relaxations : pairs of relaxation shifts
    relaxation_shifts : (2 * relaxations,) :func:`schedule.relaxation_shifts`
    strip_solver : address of :func:`single_tile.solver.solve_strip`; 0 while it is not compiled
    """

    stride: int
    tables: NDArray[np.int32]
    table_bits: int
    fixed_bits: int
    window_center: int
    stages: int
    stage_shifts: NDArray[np.int64]
    stage_rounds: NDArray[np.int64]
    relaxations: int
    relaxation_shifts: NDArray[np.int64]
    strip_solver: int


@inlined
def mostly_with_table(strips, used):
    """Whether at least half of the batch's ``used`` strips have a tie table."""
    count = 0
    for slot in range(used):
        count += strips.has_table[slot]
    return 2 * count >= used


@inlined
def read_fresh(weights, config, strips, batch, with_tables, shape, signed):
    """Read the first stage of a batch, with the tie tables of its strips or without."""
    if with_tables:
        read_first_stage(weights, config, config.tables, strips, batch, shape, signed)
    else:
        read_first_stage(weights, config, None, strips, batch, shape, signed)


@inlined
def read_queued(weights, config, strips, batch, queue, used, warm_start, shape, signed):
    """Read a batch of warm strips, or of ``used`` others and as many from the queue as fit.

    Slots that stay free repeat the last strip. Returns the lengths of queue and batch.
    """
    for slot in range(used):
        if warm_start is not None and warm_start.valid[strips.ordinal[slot]]:
            load_potentials(strips, slot, warm_start, config, shape)
        else:
            reset_potentials(strips, slot, config, shape)
    queue, used = dequeue(strips, queue, used, shape)
    for slot in range(used, shape.strips):
        copy_strip(strips, used - 1, slot, shape)
    read_window(weights, config, strips, batch, shape, signed)
    return queue, used


@inlined
def starts_warm(warm_start, strips):
    """Whether the batch's first strip has warm potentials; most likely all have, or none."""
    return warm_start is not None and warm_start.valid[strips.ordinal[0]]


@compile_kernel(nrt=False)
def solve_full_tiles(
    weights, mask, grid, total, config, strips, batch, shape, signed, unproved, start, warm_start
):  # fmt: skip
    """Masks of all full tiles of a batch of matrices.

    Parameters
    ----------
    weights : (N,) array of int16 (float16's bits), uint16 (bfloat16's), float32 or float64
    mask : (N,) array of uint8
        Written, but for the unproved strips.
    grid : (int, int, int)
        Entries from a matrix to the next; rows and columns of full tiles in each.
    total : int
        Strips in all matrices.
    config : KernelConfig
    strips, batch : Strips, TileBatch
        Scratch memory.
    shape : TileShape
    signed : True or None
        None if the scores are the magnitudes of the weights.
    unproved, start : (total,) int64, (total, strip columns) float64
        Written: positions of the unproved strips, and their column potentials in the scores' units.
    warm_start : WarmStart or None
        Of these matrices: then only what differs from its masks is written.

    Returns
    -------
    int
        How many strips are unproved; NOT_FINITE if some weight isn't; NEEDS_SOLVER if the strip
        solver should be compiled first.
    """
    # A scan for ties costs time: the first batch tries, each other one follows the one before.
    with_tables, cursor = warm_start is None, (0, 0, 0)
    remaining, queue, count, wanted = total, 0, 0, 0
    prefetch_distance = PREFETCHED_BATCHES * shape.strips if enumerates(shape) else shape.strips
    prefetch_cursor = advance_by(prefetch_distance, cursor, grid, shape)
    while remaining or queue:
        used = 0
        if queue < shape.strips and remaining:
            later = remaining - prefetch_distance
            used, cursor, remaining = next_strips(
                weights, grid, config, strips, cursor, total, remaining, with_tables, warm_start,
                shape, signed,
            )  # fmt: skip
            if used < 0:
                return NOT_FINITE
            if warm_start is None:
                prefetch_cursor = plan_prefetch(grid, config, strips, prefetch_cursor, later, shape)
            elif used == 0 and queue == 0:
                continue
        warm = used == shape.strips and starts_warm(warm_start, strips)
        fresh = used == shape.strips and not warm
        clear_potentials(batch, shape)
        if fresh:
            read_fresh(weights, config, strips, batch, with_tables, shape, signed)
            with_tables = with_tables and mostly_with_table(strips, used)
            rounds = config.stage_rounds[TIED] if with_tables else config.stage_rounds[FRESH]
        else:
            queue, used = read_queued(
                weights, config, strips, batch, queue, used, warm_start, shape, signed
            )
            rounds = config.stage_rounds[WARM] if warm else config.stage_rounds[QUEUED]
        if fresh and enumerates(shape):
            solve_fresh(weights, mask, config, strips, batch, shape)
        else:
            tied = fresh and with_tables
            ascend_batch(weights, mask, config, strips, batch, tied, rounds, warm_start, shape)
        # True of most batches of small tiles, and cheaper to see for the batch than strip by strip.
        if fresh and warm_start is None and not with_tables and all_proved(batch):
            write_masks(mask, config.stride, strips, used, batch, shape)
            continue
        reject_saturated(batch, fresh, shape)
        wanted += solve_unproved(
            weights, config, strips, used, fresh, remaining + queue == 0, batch, warm_start, shape,
            signed,
        )  # fmt: skip
        if wanted > PATIENCE:
            return NEEDS_SOLVER
        if warm_start is None:
            write_masks(mask, config.stride, strips, used, batch, shape)
        queue, count = requeue(
            weights, mask, config, strips, used, fresh, batch, queue, unproved, start, count, shape,
            signed, warm_start,
        )  # fmt: skip
        if fresh:
            with_tables = mostly_with_table(strips, used)
    return count
