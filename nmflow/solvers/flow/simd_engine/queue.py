"""After a stage: strips are done, queued for the next stage, or left unproved."""

from __future__ import annotations

from nmflow.compiling.jit import inlined
from nmflow.simd.tile_shape import ROW
from nmflow.solvers.flow.simd_engine.enumeration import enumerates
from nmflow.solvers.flow.simd_engine.fixed_point import FIRST_SHIFT
from nmflow.solvers.flow.simd_engine.strips import (
    add_potentials,
    copy_strip,
    reset_potentials,
)
from nmflow.solvers.flow.simd_engine.tile_batch import has_unproved
from nmflow.solvers.flow.simd_engine.warm_start import (
    count_new_tiles,
    save_potentials,
    write_changes,
)


@inlined
def next_stage(strips, slot, config, inside, shape):
    """Choose the strip's next stage and window; False if there is none.

    A warm strip whose potentials were clipped, not being ``inside`` the narrow window, starts cold.
    """
    first = strips.stage[slot] == 0
    if first and not inside and strips.shift[slot] < FIRST_SHIFT:
        reset_potentials(strips, slot, config, shape)
        strips.stage[slot] = 1
    else:
        strips.stage[slot] += 2 if first and not enumerates(shape) else 1
    if strips.tried_singly[slot] or strips.stage[slot] == config.stages:
        return False
    strips.shift[slot] = config.stage_shifts[strips.stage[slot]]
    return True


@inlined
def dequeue(strips, queue, used, shape):
    """Fill the batch behind ``used`` strips from the end of the queue; returns both lengths."""
    while used < shape.strips and queue:
        queue -= 1
        copy_strip(strips, shape.strips + queue, used, shape)
        used += 1
    return queue, used


@inlined
def requeue(
    weights, mask, config, strips, used, fresh, batch, queue, unproved, start, count, shape, signed,
    warm_start,
):  # fmt: skip
    """Queue the strips with unproved tiles for their next stage, or leave them to the fallback.

    Parameters
    ----------
    used : int
        Strips in the batch; their masks are in ``batch.words``.
    fresh : bool
        Whether this was their first stage, from the origin.
    queue, count : int
        Lengths of the queue and of the unproved strips.
    unproved, start, warm_start : see :func:`kernel.solve_full_tiles`

    Returns
    -------
    (int, int)
        The new lengths.
    """
    for slot in range(used):
        open_tiles = has_unproved(batch, slot, shape)
        inside = True
        if (open_tiles or warm_start is not None) and not strips.tried_singly[slot]:
            if fresh:
                reset_potentials(strips, slot, config, shape)
            inside = add_potentials(strips, slot, batch, shape)
        if not open_tiles:
            if warm_start is not None:
                if strips.stage[slot] == 0:
                    warm_start.counters[1] += count_new_tiles(strips.non_overlapping[slot], shape)
                save_potentials(strips, slot, warm_start, config, shape)
                write_changes(mask, config.stride, strips, slot, batch.words, warm_start, shape)
        elif not next_stage(strips, slot, config, inside, shape):
            if warm_start is not None:
                warm_start.unproved[count] = strips.ordinal[slot]
                save_potentials(strips, slot, warm_start, config, shape)
            leave_unproved(strips, slot, config, unproved, start, count, shape)
            count += 1
        else:
            copy_strip(strips, slot, shape.strips + queue, shape)
            queue += 1
    return queue, count


@inlined
def leave_unproved(strips, slot, config, unproved, start, count, shape):
    """Note a strip for the scalar fallback: position, and column potentials as scores."""
    unproved[count] = strips.position[slot]
    unit = 2.0 ** (strips.exponent[slot] - config.fixed_bits)
    for j in range(shape.m * shape.tiles):
        start[count, j] = strips.v[slot * shape.halves * ROW + j] * unit
