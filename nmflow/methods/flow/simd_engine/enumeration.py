"""Tiles of 4 x 4 by looking at all their masks: 32 tiles side by side, or those of a piece."""

from __future__ import annotations

from numba.extending import overload

from nmflow.compiling.jit import helper, inlined
from nmflow.methods.flow.simd_engine.read import digits_of, fixed_point
from nmflow.methods.flow.simd_engine.strips import lane_of
from nmflow.simd.enumeration import SIDE, best_of_four, best_of_piece
from nmflow.simd.integers import greater, like
from nmflow.simd.layout import store_words
from nmflow.simd.tile_shape import LANES, ROW
from nmflow.simd.vectors import load, store


@inlined
def enumerate_masks(lanes, bits, words, shape):
    """The best mask of each tile, a bit each into ``words``; which lanes are settled.

    Returns a vector of -1 where the best mask is ahead of all others by more than rounding can
    hide. If another were better, so would be one that differs from the best by a single cycle of
    exchanges, with m entries on either side at most; each of those stands for less than a unit
    more than it counts.
    """
    lead, found = best_of_four(lanes, shape)
    row = like(found, 15)
    for i in range(shape.m):
        nibble = (found >> like(found, shape.m * i)) & row
        store_words(words, i * LANES, nibble * load(bits, 0), nibble, shape)
    return greater(lead, like(lead, shape.m - 1))


@inlined
def enumerates(shape):
    """Whether tiles are of the size for which it costs least to look at all masks."""
    return shape.m == SIDE


def enumerate_piece(weights, problem, pieces, slot, panel, shape, signed):
    """Settle the open tiles of a tabled piece whose best mask, with the first table, is one alone.

    All digits and the table are looked at, without the room below them, which their sums need. That
    settles nearly every tile: few masks have equal sums in the table.
    """


@helper
def _enumerate_piece(weights, problem, pieces, slot, panel, shape, signed):
    tile = panel.tile
    # At least MARGIN bits.
    spare = pieces.unit[slot] - problem.table_bits
    pieces.shown[slot] = True
    digits = digits_of(pieces, slot)
    for i in range(shape.m):
        place = pieces.position[slot] + i * problem.stride
        score = fixed_point(weights, place, i, digits, problem, signed)
        store(tile.piece, i * ROW, score >> like(score, spare))
    lead, found = best_of_piece(tile.piece, shape)
    store(tile.need, 0, lead)
    store(tile.adds, 0, found)
    for index in range(shape.tiles):
        lane = lane_of(slot, index, shape)
        if panel.settled[lane] == 0 and tile.need[index] > 0:
            for i in range(shape.m):
                write_word(panel.words, tile.adds[index] >> shape.m * i, i, slot, index, shape)
            panel.settled[lane] = -1


@inlined
def _never_called(weights, problem, pieces, slot, panel, shape, signed):
    pass


@overload(enumerate_piece, jit_options={"forceinline": True})
def _only_small_tiles(weights, problem, pieces, slot, panel, shape, signed):
    return _enumerate_piece if shape.m == SIDE else _never_called


@inlined
def write_word(words, bits, i, slot, index, shape):
    """A row of one of the tiles of a piece that is not wider than 16: a bit for each column."""
    own = (1 << shape.m) - 1
    word = (i * LANES + slot) * shape.halves
    shift = index * shape.m
    words[word] = words[word] & ~(own << shift) | (bits & own) << shift
