"""The main loop of tiles that hold at most n, 32 side by side; see :mod:`prices`.

As that of full tiles (:mod:`nmflow.solvers.flow.simd_engine.kernel`), without tables of ties,
enumeration and a solver of single tiles: what no stage proves is for the scalar fallback.
"""

from __future__ import annotations

from nmflow.compiling.jit import compile_kernel, inlined
from nmflow.solvers.flow.simd_engine.at_most.prices import add_prices, ascend, prove, set_floors
from nmflow.solvers.flow.simd_engine.cursor import next_strips
from nmflow.solvers.flow.simd_engine.kernel import NOT_FINITE
from nmflow.solvers.flow.simd_engine.queue import dequeue, leave_unproved
from nmflow.solvers.flow.simd_engine.read import read_first_stage, read_window
from nmflow.solvers.flow.simd_engine.schedule import FRESH, QUEUED
from nmflow.solvers.flow.simd_engine.strips import copy_strip, reset_potentials
from nmflow.solvers.flow.simd_engine.tile_batch import (
    clear_potentials,
    has_unproved,
    reject_saturated,
    relaxation_of,
    write_masks,
)


@inlined
def requeue(strips, used, fresh, batch, config, queue, unproved, start, count, shape):
    """Queue the strips with unproved tiles for their next stage; returns both new lengths."""
    for slot in range(used):
        if not has_unproved(batch, slot, shape):
            continue
        if fresh:
            reset_potentials(strips, slot, config, shape)
        add_prices(strips, slot, batch, shape)
        strips.stage[slot] += 2 if strips.stage[slot] == 0 else 1
        if strips.stage[slot] == config.stages:
            leave_unproved(strips, slot, config, unproved, start, count, shape)
            count += 1
            continue
        strips.shift[slot] = config.stage_shifts[strips.stage[slot]]
        copy_strip(strips, slot, shape.strips + queue, shape)
        queue += 1
    return queue, count


@compile_kernel(nrt=False)
def solve_at_most(
    weights, mask, grid, total, config, strips, batch, bounds, shape, unproved, start
):
    """Masks of all tiles of m x m of a batch of matrices of scores; negative ones are not kept.

    Parameters and result as of :func:`nmflow.solvers.flow.simd_engine.kernel.solve_full_tiles`.
    """
    cursor, remaining, queue, count = (0, 0, 0), total, 0, 0
    while remaining or queue:
        used = 0
        if queue < shape.strips and remaining:
            used, cursor, remaining = next_strips(
                weights, grid, config, strips, cursor, total, remaining, False, None, shape, True
            )
            if used < 0:
                return NOT_FINITE
        fresh = used == shape.strips
        clear_potentials(batch, shape)
        if fresh:
            read_first_stage(weights, config, None, strips, batch, shape, True)
            rounds = config.stage_rounds[FRESH]
        else:
            for slot in range(used):
                reset_potentials(strips, slot, config, shape)
            queue, used = dequeue(strips, queue, used, shape)
            for slot in range(used, shape.strips):
                copy_strip(strips, used - 1, slot, shape)
            read_window(weights, config, strips, batch, shape, True)
            rounds = config.stage_rounds[QUEUED]
        set_floors(strips, bounds, fresh, shape)
        relaxation = relaxation_of(config, 0)
        for _ in range(rounds):
            ascend(batch, bounds, relaxation, shape)
        prove(batch, bounds, shape)
        reject_saturated(batch, fresh, shape)
        write_masks(mask, config.stride, strips, used, batch, shape)
        queue, count = requeue(
            strips, used, fresh, batch, config, queue, unproved, start, count, shape
        )
    return count
