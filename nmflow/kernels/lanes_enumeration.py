"""Tiles of 4 x 4 by looking at all their masks, 32 tiles side by side."""

from __future__ import annotations

from nmflow.kernels.jit import inlined
from nmflow.simd.enumeration import best_of_four
from nmflow.simd.lanes import greater, like
from nmflow.simd.layout import store_words
from nmflow.simd.static import LANES
from nmflow.simd.vectors import load


@inlined
def enumerate_masks(lanes, zero, bits, words, shape):
    """The best mask of each tile, a bit each into ``words``; which lanes are settled.

    ``zero`` is the least score there can be. Returns a vector of -1 where the best mask is ahead
    of all others by more than rounding can hide. If another were better, so would be the one that
    differs from it by a single cycle of exchanges, with m entries on either side at most; each
    stands for less than a unit more than it counts, and two halved sums hide a unit more.
    """
    first, second, found = best_of_four(lanes, zero, shape)
    row = like(found, 15)
    for i in range(shape.m):
        nibble = (found >> like(found, shape.m * i)) & row
        store_words(words, i * LANES, nibble * load(bits, 0), nibble, shape)
    return greater(first - second, like(first, shape.m // 2))
