"""Tiles of 4 x 4 by enumeration of all their masks: 32 tiles, or those of a strip."""

from __future__ import annotations

from numba.extending import overload

from nmflow.compiling.jit import HELPER_OPTIONS, helper, inlined
from nmflow.simd.enumeration import SIDE, best_of_four, best_of_strip
from nmflow.simd.integers import greater, like
from nmflow.simd.layout import store_words
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, store
from nmflow.solvers.flow.simd_engine.read import format_of, load_fixed_point
from nmflow.solvers.flow.simd_engine.strips import lane_of


@inlined
def enumerate_masks(lanes, bits, words, shape):
    """The best mask of each of 32 tiles, written to ``words``; which are proved.

    Returns -1 where the best mask leads all others by more than the floors can hide. If another
    were better, so would be one that differs from the best by a single alternating cycle, which has
    at most m entries on either side; each of these is less than a unit more than its floor.
    """
    lead, found = best_of_four(lanes, shape)
    row = like(found, 15)
    for i in range(shape.m):
        nibble = (found >> like(found, shape.m * i)) & row
        store_words(words, i * LANES, nibble * load(bits, 0), nibble, shape)
    return greater(lead, like(lead, shape.m - 1))


@inlined
def enumerates(shape):
    """Whether tiles are of the size for which enumeration costs least."""
    return shape.m == SIDE


def enumerate_strip(weights, config, strips, slot, batch, shape, signed):
    """Prove the unproved tiles of a strip with a tie table whose best mask is the only one.

    All bits of the scores and the table take part, without the bits below the table, which the sums
    need. That proves nearly every tile: few masks have equal sums of table entries.
    """


@helper
def _enumerate_strip(weights, config, strips, slot, batch, shape, signed):
    tile = batch.tile
    # At least TABLE_MARGIN bits.
    spare = strips.score_shift[slot] - config.table_bits
    strips.reads_table[slot] = True
    number_format = format_of(strips, slot)
    for i in range(shape.m):
        start = strips.position[slot] + i * config.stride
        score = load_fixed_point(weights, start, i, number_format, config, signed)
        store(tile.strip, i * ROW, score >> like(score, spare))
    lead, found = best_of_strip(tile.strip, shape)
    store(tile.row_deficit, 0, lead)
    store(tile.adds, 0, found)
    for index in range(shape.tiles):
        lane = lane_of(slot, index, shape)
        if batch.proved[lane] == 0 and tile.row_deficit[index] > 0:
            for i in range(shape.m):
                write_word(batch.words, tile.adds[index] >> shape.m * i, i, slot, index, shape)
            batch.proved[lane] = -1


@inlined
def _never_called(weights, config, strips, slot, batch, shape, signed):
    pass


@overload(enumerate_strip, jit_options=HELPER_OPTIONS | {"forceinline": True})
def _only_small_tiles(weights, config, strips, slot, batch, shape, signed):
    return _enumerate_strip if shape.m == SIDE else _never_called


@inlined
def write_word(words, bits, i, slot, index, shape):
    """Write row i of one tile, a bit for each column, into its strip's word (m <= 16)."""
    tile_bits = (1 << shape.m) - 1
    word = (i * LANES + slot) * shape.halves
    shift = index * shape.m
    words[word] = words[word] & ~(tile_bits << shift) | (bits & tile_bits) << shift
