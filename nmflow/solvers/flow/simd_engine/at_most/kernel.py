"""The main loop of tiles that hold at most n, 32 side by side; see :mod:`prices`.

As that of full tiles (:mod:`nmflow.solvers.flow.simd_engine.kernel`), without tables of ties and a
solver of single tiles: what no stage proves is for the scalar fallback.
"""

from __future__ import annotations

from nmflow.compiling.jit import compile_kernel, inlined
from nmflow.simd.layout import prefetch
from nmflow.solvers.flow.simd_engine.at_most.enumeration import enumerate_within, enumerates_within
from nmflow.solvers.flow.simd_engine.at_most.prices import add_prices, ascend, prove, set_floors
from nmflow.solvers.flow.simd_engine.cursor import advance_by, next_strips, plan_prefetch
from nmflow.solvers.flow.simd_engine.kernel import NOT_FINITE, PREFETCHED_BATCHES
from nmflow.solvers.flow.simd_engine.queue import dequeue, leave_unproved
from nmflow.solvers.flow.simd_engine.read import read_first_stage, read_window
from nmflow.solvers.flow.simd_engine.schedule import FRESH, QUEUED
from nmflow.solvers.flow.simd_engine.strips import copy_strip, lane_of, reset_potentials
from nmflow.solvers.flow.simd_engine.tile_batch import (
    all_proved,
    clear_potentials,
    has_unproved,
    prefetch_strip,
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
        strips.stage[slot] += 2 if strips.stage[slot] == 0 and not enumerates_within(shape) else 1
        if strips.stage[slot] == config.stages:
            leave_unproved(strips, slot, config, unproved, start, count, shape)
            count += 1
            continue
        strips.shift[slot] = config.stage_shifts[strips.stage[slot]]
        copy_strip(strips, slot, shape.strips + queue, shape)
        queue += 1
    return queue, count


@inlined
def prefetch_next(scores, mask, config, strips, shape):
    """Prefetch the strips of a later batch."""
    values, allowed, _ = scores
    for slot in range(strips.prefetch_count[0]):
        start = strips.prefetch_position[slot]
        prefetch_strip(values, mask, config, start, slot % 4 == 0, shape)
        if slot % 4 == 0:
            for i in range(shape.m):
                prefetch(allowed, start + i * config.stride, 0, shape)
    strips.prefetch_count[0] = 0


@inlined
def note_open(strips, used, grid, config, batch, bounds, is_open, shape):
    """Note the tiles of unproved strips that were to be filled: the next stages don't do that."""
    for slot in range(used):
        if has_unproved(batch, slot, shape):
            matrix, place = divmod(strips.position[slot], grid[0])
            row, column = divmod(place, config.stride)
            first = matrix * (grid[1] // shape.m) + row // shape.m
            first = first * (grid[2] // shape.m) + column // shape.m
            for tile in range(shape.tiles):
                if bounds.to_fill[lane_of(slot, tile, shape)] != 0:
                    is_open[first + tile] = 1


@compile_kernel(nrt=False)
def solve_at_most(
    scores, mask, grid, total, config, strips, batch, bounds, shape, unproved, start, fills, is_open
):
    """Masks of all tiles of m x m of a batch of matrices of scores; negative ones are not kept.

    Parameters and result as of :func:`nmflow.solvers.flow.simd_engine.kernel.solve_full_tiles`, but
    for the following.

    Parameters
    ----------
    scores : AllowedScores
    fills : bool
        Whether tiles that are enumerated are filled, those of enough allowed entries in each line.
    is_open : (tiles,) array of uint8
        Set to 1 for those of them that are filled perhaps.
    """
    cursor, remaining, queue, count = (0, 0, 0), total, 0, 0
    distance = (PREFETCHED_BATCHES if enumerates_within(shape) else 1) * shape.strips
    prefetch_cursor = advance_by(distance, cursor, grid, shape)
    while remaining or queue:
        used = 0
        if queue < shape.strips and remaining:
            used, cursor, remaining = next_strips(
                scores, grid, config, strips, cursor, total, remaining, False, None, shape, True
            )
            if used < 0:
                return NOT_FINITE
            prefetch_cursor = plan_prefetch(
                grid, config, strips, prefetch_cursor, remaining - distance + used, shape
            )
        enumerated = enumerates_within(shape) and used > 0
        fresh = enumerated or used == shape.strips
        clear_potentials(batch, shape)
        if enumerated:
            # The later stages don't fill tiles: all strips begin with this one.
            for slot in range(used, shape.strips):
                copy_strip(strips, used - 1, slot, shape)
        if fresh:
            read_first_stage(scores, config, None, strips, batch, shape, True)
            rounds = config.stage_rounds[FRESH]
        else:
            for slot in range(used):
                reset_potentials(strips, slot, config, shape)
            queue, used = dequeue(strips, queue, used, shape)
            for slot in range(used, shape.strips):
                copy_strip(strips, used - 1, slot, shape)
            read_window(scores, config, strips, batch, shape, True)
            rounds = config.stage_rounds[QUEUED]
        prefetch_next(scores, mask, config, strips, shape)
        if enumerated:
            enumerate_within(scores, config, strips, used, batch, bounds, fills, shape)
        else:
            set_floors(strips, bounds, fresh, shape)
            relaxation = relaxation_of(config, 0)
            for _ in range(rounds):
                ascend(batch, bounds, relaxation, shape)
            prove(batch, bounds, shape)
            reject_saturated(batch, fresh, shape)
        write_masks(mask, config.stride, strips, used, batch, shape)
        if all_proved(batch):
            continue
        if enumerated:
            note_open(strips, used, grid, config, batch, bounds, is_open, shape)
        queue, count = requeue(
            strips, used, fresh, batch, config, queue, unproved, start, count, shape
        )
    return count
