"""Tiles of 4 x 4 that hold at most two in each line, by enumeration: 32 at a time."""

from __future__ import annotations

from numba.extending import overload

from nmflow.compiling.jit import HELPER_OPTIONS, helper, inlined
from nmflow.simd.enumeration_within import ENUMERATED, best_within, best_within_strip
from nmflow.simd.integers import like
from nmflow.simd.layout import store_words
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, store
from nmflow.solvers.flow.simd_engine.enumeration import write_word
from nmflow.solvers.flow.simd_engine.read import format_of, load_fixed_point
from nmflow.solvers.flow.simd_engine.strips import lane_of
from nmflow.solvers.flow.simd_engine.tile_batch import all_proved, has_unproved


@inlined
def enumerates_within(shape):
    """Whether tiles are of the size and n for which enumeration costs least."""
    return shape.n == ENUMERATED[0] and shape.m == ENUMERATED[1]


def enumerate_within(scores, config, strips, used, batch, bounds, fills, shape):
    """Write the best mask of each of 32 tiles, which are proved, and which were to be filled.

    As :func:`nmflow.simd.enumeration_within.best_within` has it, and as
    :func:`nmflow.simd.enumeration_within.best_within_strip` where that proves nothing.
    """


@inlined
def _enumerate(scores, config, strips, used, batch, bounds, fills, shape):
    proved, kept, to_fill = best_within(batch.lanes, fills, shape)
    store(batch.proved, 0, proved)
    store(bounds.to_fill, 0, to_fill)
    row = like(kept, 15)
    for i in range(shape.m):
        nibble = (kept >> like(kept, shape.m * i)) & row
        store_words(batch.words, i * LANES, nibble * load(batch.bits, 0), nibble, shape)
    if all_proved(batch):
        return
    for slot in range(used):
        if has_unproved(batch, slot, shape):
            enumerate_strip(scores, config, strips, slot, batch, bounds, fills, shape)


@helper
def enumerate_strip(scores, config, strips, slot, batch, bounds, fills, shape):
    """Prove the unproved tiles of a strip, looking at more bits of them."""
    tile = batch.tile
    number_format = format_of(strips, slot)
    for i in range(shape.m):
        start = strips.position[slot] + i * config.stride
        score = load_fixed_point(scores, start, i, number_format, config, True)
        store(tile.strip, i * ROW, score)
    proved, kept, _ = best_within_strip(tile.strip, fills, shape)
    store(tile.row_deficit, 0, proved)
    store(tile.adds, 0, kept)
    for index in range(shape.tiles):
        lane = lane_of(slot, index, shape)
        if batch.proved[lane] == 0 and tile.row_deficit[index] != 0:
            for i in range(shape.m):
                write_word(batch.words, tile.adds[index] >> shape.m * i, i, slot, index, shape)
            batch.proved[lane] = -1


@inlined
def _never_called(scores, config, strips, used, batch, bounds, fills, shape):
    pass


@overload(enumerate_within, jit_options=HELPER_OPTIONS | {"forceinline": True})
def _only_small_tiles(scores, config, strips, used, batch, bounds, fills, shape):
    return _enumerate if (shape.n, shape.m) == ENUMERATED else _never_called
