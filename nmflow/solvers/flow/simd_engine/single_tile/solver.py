"""The unproved tiles of one strip: by their scores first, then by one tie table after the other.

A mask is proved by potentials strictly between what is kept and what is pruned, or by optimal ones
at which no alternating cycle of entries with exact scores has reduced cost 0: no other mask can be
optimal. Or else optimal potentials still tell the *face*, what all optimal masks have in common:
they keep the entries of positive reduced cost and prune those of negative. The next table decides
among the others. An entry whose score is more than its floor, and whose floor has reduced cost 0,
has a positive one. In strips with a tie table the first table is read with the scores, which spares
a step.

A kernel by itself: the same for all n and dtypes, and compiled only where such tiles are met.
"""

from __future__ import annotations

from nmflow.compiling.jit import compile_kernel, helper, inlined
from nmflow.problem.ties import TABLE_BITS, TABLES
from nmflow.simd.integers import bit_count, choose, equal, greater, largest_lane, like
from nmflow.simd.lines import load_line, negative_lanes, padded
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import store
from nmflow.solvers.flow.simd_engine.enumeration import write_word
from nmflow.solvers.flow.simd_engine.fixed_point import (
    FACE_TABLE_SHIFT,
    FORBIDDEN,
    REDUCED_LIMIT,
)
from nmflow.solvers.flow.simd_engine.single_tile.augmentation import augment, is_unique
from nmflow.solvers.flow.simd_engine.single_tile.shortest_paths import (
    kept_of_row,
    separate,
    transpose_tile,
    within_limits,
)
from nmflow.solvers.flow.simd_engine.strips import clipped_part, lane_of, mean_potential


@helper
def load_clipped_potentials(shift, slot, index, batch, level, spare, shape):
    """Start a tile from what its potentials lost when they were clipped to the window."""
    tile, lane = batch.tile, lane_of(slot, index, shape)
    mean = mean_potential(batch.v, lane, shape)
    for k in range(shape.m):
        u, v = batch.u[k * LANES + lane] + mean, batch.v[k * LANES + lane] - mean
        tile.u[k] = (clipped_part(u) << shift) + level >> spare
        tile.v[k] = clipped_part(v) << shift >> spare


@helper
def load_tile(shift, slot, index, batch, inside, level, spare, shape):
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
        load_clipped_potentials(shift, slot, index, batch, level, spare, shape)
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
        if count > tile.n:
            tile.v[j] += largest_lane(reduced)
            kept, count = kept ^ kept, 0
        score = load_line(tile.scores_by_column, j * shape.line, shape)
        store(tile.kept, j * shape.line, choose(kept, score, like(score, FORBIDDEN)))
        tile.column_deficit[j] = tile.n - count
    v = load_line(tile.v, 0, shape)
    for i in range(shape.m):
        score = load_line(tile.scores, i * shape.line, shape)
        kept = greater(score - v, like(v, tile.u[i]))
        store(tile.pruned, i * shape.line, choose(kept, like(score, -FORBIDDEN), score))
        tile.row_deficit[i] = tile.n - bit_count(negative_lanes(kept))


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
def add_tile_potentials(u, v, slot, index, tile, spare, shape):
    """Add a tile's potentials to the current ones of its strip."""
    start = slot * shape.halves * ROW
    for k in range(shape.m):
        u[start + k * shape.tiles + index] += tile.u[k] << spare
        v[start + index * shape.m + k] += tile.v[k] << spare


@helper
def solve_tile(
    tables, u, v, shift, has_table, slot, index, batch, inside, level, spare, exact, strict, shape
):
    """Find the mask of a tile of the strip that was read; whether it is proved.

    Parameters are those of :func:`solve_strip`.
    """
    tile = batch.tile
    load_tile(shift, slot, index, batch, inside, level, spare, shape)
    proved = False
    for table in range(-1, TABLES):
        if table == 0 and has_table:
            continue
        if table >= 0:
            load_face(tables, table, index, tile, exact, shape)
        balanced = augment(tile, shape) and within_limits(tile, shape)
        proved = balanced and (exact or table >= 0) and is_unique(tile, shape)
        if table < 0:
            if balanced and (not exact or (proved and strict)):
                proved = separate(tile, shape) or proved
            add_tile_potentials(u, v, slot, index, tile, spare, shape)
        if proved or not balanced:
            break
    return proved


@compile_kernel(nrt=False)
def solve_strip(
    tables, u, v, shift, has_table, slot, batch, inside, level, spare, exact, strict, shape
):
    """Find the masks of the unproved tiles of the strip that was read into ``batch.tile.strip``.

    Mask words and proofs are written to the batch.

    Parameters
    ----------
    tables : see :class:`kernel.KernelConfig`
    u, v : int32 arrays
        Current potentials of all strips, to which the tiles' are added.
    shift : int
        The low bits that the strip's last stage left out.
    has_table : bool
        Whether the scores were read with the first tie table.
    slot : int
    batch : TileBatch
    inside, level : see :func:`load_tile`
    spare : int
        The low bits of the fixed point that were left out.
    exact : bool
        Whether no score of the strip has lower bits than the fixed point.
    strict : bool
        Whether potentials that separate strictly are wanted where other proofs do: a warm start
        needs them.
    shape : TileShape
        Of any n; the batch's tile knows its own.
    """
    for index in range(shape.tiles):
        lane = lane_of(slot, index, shape)
        if batch.proved[lane] == 0 and solve_tile(
            tables, u, v, shift, has_table, slot, index, batch, inside, level, spare, exact,
            strict, shape,
        ):  # fmt: skip
            write_words(batch.tile, slot, index, batch, shape)
            batch.proved[lane] = -1
