"""Tiles of 4 x 4 by looking at all their masks, 32 tiles side by side."""

from __future__ import annotations

from nmflow.kernels.jit import inlined
from nmflow.simd.enumeration import best_of_four
from nmflow.simd.lanes import greater, like
from nmflow.simd.layout import store_words
from nmflow.simd.static import LANES
from nmflow.simd.vectors import load


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
