"""Unproved tiles one by one: by their scores first, then by one tie table after the other.

A mask is proved by potentials strictly between what is kept and what is pruned, or by optimal ones
at which no alternating cycle of entries with exact scores has reduced cost 0: no other mask can be
optimal. Or else optimal potentials still tell the *face*, what all optimal masks have in common:
they keep the entries of positive reduced cost and prune those of negative. The next table decides
among the others. An entry whose score is more than its floor, and whose floor has reduced cost 0,
has a positive one. In strips with a tie table the first table is read with the scores, which spares
a step.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper, inlined
from nmflow.problem.ties import TABLE_BITS
from nmflow.simd.integers import any_bits, bit_count, choose, equal, greater, largest_lane, like
from nmflow.simd.lines import load_line, negative_lanes, padded
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, maximum, minimum, store
from nmflow.solvers.flow.simd_engine.enumeration import enumerate_strip, enumerates, write_word
from nmflow.solvers.flow.simd_engine.fixed_point import (
    FACE_TABLE_SHIFT,
    FORBIDDEN,
    REDUCED_LIMIT,
    SPARE_BITS,
    TABLE_MARGIN,
)
from nmflow.solvers.flow.simd_engine.read import format_of, is_inexact, load_reduced
from nmflow.solvers.flow.simd_engine.scale import CERTAIN, LIKELY, UNLIKELY, add_table_where_tied
from nmflow.solvers.flow.simd_engine.single_tile.augmentation import augment, is_unique
from nmflow.solvers.flow.simd_engine.single_tile.shortest_paths import (
    kept_of_row,
    separate,
    transpose_tile,
    within_limits,
)
from nmflow.solvers.flow.simd_engine.strips import (
    add_potentials,
    clipped_part,
    lane_of,
    mean_potential,
    reset_potentials,
)
from nmflow.solvers.flow.simd_engine.tile_batch import has_unproved

TABLES = 4
"""Tie tables that are tried here; few tiles go on to the scalar fallback, which costs far more."""
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


@helper
def load_clipped_potentials(strips, slot, index, batch, level, spare, shape):
    """Start a tile from what its potentials lost when they were clipped to the window."""
    tile, lane, shift = batch.tile, lane_of(slot, index, shape), strips.shift[slot]
    mean = mean_potential(batch.v, lane, shape)
    for k in range(shape.m):
        u, v = batch.u[k * LANES + lane] + mean, batch.v[k * LANES + lane] - mean
        tile.u[k] = (clipped_part(u) << shift) + level >> spare
        tile.v[k] = clipped_part(v) << shift >> spare


@helper
def load_tile(strips, slot, index, batch, inside, level, spare, shape):
    """Take one tile of the strip that was read, with potentials to start from.

    Parameters
    ----------
    inside : bool
        Whether the strip's current potentials are all that the last stage found.
    level : int
        Start of the row potentials, in fixed-point units: the last bits that the stage left out.
    """
    tile = batch.tile
    if inside:
        line = load_line(tile.u, 0, shape)
        store(tile.u, 0, like(line, level >> spare))
        store(tile.v, 0, line ^ line)
    else:
        load_clipped_potentials(strips, slot, index, batch, level, spare, shape)
    for i in range(shape.m):
        line = load_line(tile.strip, i * shape.halves * ROW + index * shape.m, shape)
        store(tile.scores, i * shape.line, padded(line, -REDUCED_LIMIT, shape))
    threshold_tile(tile, shape)


@helper
def load_face(tables, number, index, tile, exact, shape):
    """Take the next tie table as scores on the face of the masks that are optimal so far.

    Where the reduced cost is not 0 all optimal masks keep the entry, or all prune it: its score
    becomes +-REDUCED_LIMIT.
    """
    v = load_line(tile.v, 0, shape)
    for i in range(shape.m):
        line = i * shape.halves * ROW
        reduced = load_line(tile.scores, i * shape.line, shape) - v
        reduced = reduced - like(reduced, tile.u[i])
        zero = more = reduced ^ reduced
        if not exact:
            # The reduced cost of the score itself is positive where that of its floor is 0.
            more = equal(reduced, zero) & load_line(tile.inexact, line + index * shape.m, shape)
        table = load_line(tables, number * shape.m * shape.halves * ROW + line, shape)
        table = table << like(reduced, FACE_TABLE_SHIFT)
        score = choose(greater(reduced - more, zero), like(reduced, REDUCED_LIMIT), table)
        score = choose(greater(zero, reduced), like(reduced, -REDUCED_LIMIT), score)
        store(tile.scores, i * shape.line, padded(score, -REDUCED_LIMIT, shape))
    for k in range(shape.m):
        tile.u[k] = 1 << (FACE_TABLE_SHIFT + TABLE_BITS)
        tile.v[k] = 0
    threshold_tile(tile, shape)


@helper
def threshold_tile(tile, shape):
    """Keep what exceeds u + v, but nothing of columns with more than n such entries."""
    transpose_tile(tile, shape)
    for k in range(shape.m, shape.line):
        tile.u[k] = 0
        tile.v[k] = 0
    u = load_line(tile.u, 0, shape)
    for j in range(shape.m):
        reduced = load_line(tile.scores_by_column, j * shape.line, shape) - u
        reduced = reduced - like(reduced, tile.v[j])
        kept = greater(reduced, reduced ^ reduced)
        count = bit_count(negative_lanes(kept))
        if count > shape.n:
            tile.v[j] += largest_lane(reduced)
            kept, count = kept ^ kept, 0
        score = load_line(tile.scores_by_column, j * shape.line, shape)
        store(tile.kept, j * shape.line, choose(kept, score, like(score, FORBIDDEN)))
        tile.column_deficit[j] = shape.n - count
    v = load_line(tile.v, 0, shape)
    for i in range(shape.m):
        score = load_line(tile.scores, i * shape.line, shape)
        kept = greater(score - v, like(v, tile.u[i]))
        store(tile.pruned, i * shape.line, choose(kept, like(score, -FORBIDDEN), score))
        tile.row_deficit[i] = shape.n - bit_count(negative_lanes(kept))


@helper
def write_words(tile, slot, index, batch, shape):
    """Write a tile's mask into the words of its strip."""
    tile_bits = (1 << shape.m) - 1
    for i in range(shape.m):
        bits = negative_lanes(kept_of_row(tile, i, shape)) & tile_bits
        if shape.halves == 2:
            word = (i * LANES + slot) * 2
            batch.words[word] = bits & 0xFFFF
            batch.words[word + 1] = bits >> ROW
        else:
            write_word(batch.words, bits, i, slot, index, shape)


@inlined
def add_tile_potentials(strips, slot, index, tile, spare, shape):
    """Add a tile's potentials to the current ones of its strip."""
    start = slot * shape.halves * ROW
    for k in range(shape.m):
        strips.u[start + k * shape.tiles + index] += tile.u[k] << spare
        strips.v[start + index * shape.m + k] += tile.v[k] << spare


@helper
def solve_tile(config, strips, slot, index, batch, inside, level, spare, exact, warm_start, shape):
    """Find the mask of a tile of the strip that was read; whether it is proved.

    Parameters
    ----------
    inside, level : see :func:`load_tile`
    spare : int
        The low bits of the fixed point that were left out.
    exact : bool
        Whether no score of the strip has lower bits than the fixed point.
    """
    tile = batch.tile
    load_tile(strips, slot, index, batch, inside, level, spare, shape)
    proved = False
    for table in range(-1, TABLES):
        if table == 0 and strips.has_table[slot]:
            continue
        if table >= 0:
            load_face(config.tables, table, index, tile, exact, shape)
        balanced = augment(tile, shape) and within_limits(tile, shape)
        proved = balanced and (exact or table >= 0) and is_unique(tile, shape)
        if table < 0:
            # check_still_optimal needs a strict separation.
            if balanced and (not exact or (proved and warm_start is not None)):
                proved = separate(tile, shape) or proved
            add_tile_potentials(strips, slot, index, tile, spare, shape)
        if proved or not balanced:
            break
    return proved


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
def solve_unproved(weights, config, strips, used, fresh, few, batch, warm_start, shape, signed):
    """Try unproved tiles one by one where ties are likely, or everywhere if they are ``few``.

    Mask words and proofs are written to the batch; the strips' current potentials are updated.
    """
    for slot in range(used):
        if not has_unproved(batch, slot, shape):
            continue
        if not should_try_singly(weights, config, strips, slot, shape) and not few:
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
        for index in range(shape.tiles):
            lane = lane_of(slot, index, shape)
            if batch.proved[lane] == 0 and solve_tile(
                config, strips, slot, index, batch, inside, level, spare, exact, warm_start, shape
            ):
                write_words(batch.tile, slot, index, batch, shape)
                batch.proved[lane] = -1
