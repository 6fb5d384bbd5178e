"""Which unproved tiles are tried one by one, and reading their strips.

They are solved by :mod:`solver`, a kernel of its own, which is called by its address.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper, inlined
from nmflow.compiling.pointers import call_at
from nmflow.problem.ties import TABLE_BITS
from nmflow.simd.integers import any_bits, like
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store
from nmflow.solvers.flow.simd_engine.enumeration import enumerate_strip, enumerates
from nmflow.solvers.flow.simd_engine.fixed_point import (
    REDUCED_LIMIT,
    SPARE_BITS,
    TABLE_MARGIN,
)
from nmflow.solvers.flow.simd_engine.read import format_of, is_inexact, load_reduced
from nmflow.solvers.flow.simd_engine.scale import CERTAIN, LIKELY, UNLIKELY, add_table_where_tied
from nmflow.solvers.flow.simd_engine.strips import (
    add_potentials,
    reset_potentials,
)
from nmflow.solvers.flow.simd_engine.tile_batch import has_unproved

FEW = 8
"""Up to so many unproved tiles are tried one by one at the very end."""


@helper
def read_strip(weights, config, strips, slot, tile, spare, shape, signed):
    """Reduced costs of a strip into ``tile.strip``; whether all scores are exact.

    The tie table is part of the scores where the strip has one. ``spare`` low bits are left out.
    """
    number_format = format_of(strips, slot)
    scale, _, has_table, _ = number_format
    some = load(tile.strip, 0) ^ load(tile.strip, 0)
    for i in range(shape.m):
        for half in range(shape.halves):
            reduced = load_reduced(
                weights, slot, i, half, number_format, strips, config, shape, signed
            )
            reduced = reduced >> like(reduced, spare)
            reduced = maximum(
                minimum(reduced, like(reduced, REDUCED_LIMIT)), like(reduced, -REDUCED_LIMIT)
            )
            line = (i * shape.halves + half) * ROW
            store(tile.strip, line, reduced)
            # A strip has a table only where no bit is lost.
            if not has_table:
                start = strips.position[slot] + i * config.stride + half * ROW
                more = is_inexact(weights, start, scale, signed)
                store(tile.inexact, line, more)
                some = some | more
    return any_bits(some) == 0


@inlined
def should_try_singly(weights, config, strips, slot, shape):
    """Whether a strip's unproved tiles are to be tried one by one now; may give it a tie table.

    Scores of few digits without bits for a table make ties likely in large tiles. Of small ones
    most are proved by the next stage. Enumeration finds no potentials to start from, which only
    strips with a table can do without.
    """
    if strips.has_table[slot]:
        return True
    ties = add_table_where_tied(weights, config, strips, slot, shape)
    if strips.has_table[slot] or strips.stage[slot] > 0:
        return ties != UNLIKELY
    return (ties == LIKELY and shape.m > ROW) or (ties == CERTAIN and not enumerates(shape))


@inlined
def are_few(batch, fresh, shape):
    """Whether a batch's unproved tiles cost less one by one than another stage would."""
    count = 0
    for lane in range(LANES):
        count += batch.proved[lane] == 0
    return count <= FEW and not (fresh and enumerates(shape))


@inlined
def solve_unproved(weights, config, strips, used, fresh, last, batch, warm_start, shape, signed):
    """Try unproved tiles one by one where ties are likely, and the ``last`` if they are few.

    Mask words and proofs are written to the batch; the strips' current potentials are updated.
    Returns how many strips wanted it while there was no solver.
    """
    wanted = 0
    few = last and config.strip_solver != 0 and are_few(batch, fresh, shape)
    for slot in range(used):
        if not has_unproved(batch, slot, shape):
            continue
        if not should_try_singly(weights, config, strips, slot, shape) and not few:
            continue
        if config.strip_solver == 0:
            wanted += 1
            continue
        if fresh and warm_start is None and strips.has_table[slot] and enumerates(shape):
            enumerate_strip(weights, config, strips, slot, batch, shape, signed)
            if not has_unproved(batch, slot, shape):
                continue
        if fresh:
            reset_potentials(strips, slot, config, shape)
        inside = add_potentials(strips, slot, batch, shape)
        strips.tried_singly[slot] = True
        # What equaled u + v in the window was pruned, whatever its lower bits are.
        level, spare = (1 << strips.shift[slot]) - 1, 0
        if strips.has_table[slot]:
            if strips.reads_table[slot]:
                level = 0
            else:
                level = max(level, 1 << (strips.score_shift[slot] - config.table_bits + TABLE_BITS))
            strips.reads_table[slot] = True
            # Low bits that neither scores nor potentials use would only widen the numbers.
            spare = min(
                max(strips.score_shift[slot] - config.table_bits - TABLE_MARGIN, 0), SPARE_BITS
            )
            spare = min(spare, strips.shift[slot])
        exact = read_strip(weights, config, strips, slot, batch.tile, spare, shape, signed)
        call_at(
            config.strip_solver,
            (
                config.tables, strips.u, strips.v, strips.shift[slot], strips.has_table[slot], slot,
                batch, inside, level, spare, exact, warm_start is not None, shape.any_n,
            ),
        )  # fmt: skip
    return wanted
