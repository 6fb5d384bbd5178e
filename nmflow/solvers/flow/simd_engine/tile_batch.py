"""A tile batch: scratch memory for 32 tiles, solved side by side and written as masks."""

from __future__ import annotations

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from nmflow.compiling.jit import HELPER_OPTIONS, inlined
from nmflow.compiling.structs import Struct
from nmflow.simd.enumeration import SIDE
from nmflow.simd.integers import any_bits, like
from nmflow.simd.layout import prefetch, store_bits, store_mask
from nmflow.simd.tile_shape import LANES, ROW, TileShape
from nmflow.simd.vectors import load, store
from nmflow.solvers.flow.simd_engine.dual_ascent import (
    ascend,
    centre,
    relaxed_midpoint,
    threshold,
    within_limits,
)
from nmflow.solvers.flow.simd_engine.enumeration import enumerate_masks
from nmflow.solvers.flow.simd_engine.single_tile.shortest_paths import TileScratch, new_tile_scratch
from nmflow.solvers.flow.simd_engine.strips import aligned, lane_of

# Strips lie side by side without gaps if tiles of m columns fill them, m dividing this.
GAPLESS_COLUMNS = 2 * ROW


class TileBatch(Struct, pointers=True):
    """Scratch memory for 32 tiles; 32 lanes are a vector of int16.

    Attributes
    ----------
    lanes : (m * (m + 1) * 32,) entry i, j of all tiles at ((m + 1) * i + j) * 32; the spare column
        keeps rows from falling into the same cache sets
    packed : (16 * 32,) a row of the strips, two by two, before it is transposed
    u, v : (m * 32,) potentials of the rows and columns of all tiles, in units of the stage
    bits : (m * 32,) the bit of a mask word that stands for each column in each lane
    words : (m * 32 * halves,) the masks, for each row and strip a word of 16 bits
    proved : (32,) -1 where a tile's mask is proved, else 0
    tile : for tiles that are solved one by one
    """

    lanes: NDArray[np.int16]
    packed: NDArray[np.int16]
    u: NDArray[np.int16]
    v: NDArray[np.int16]
    bits: NDArray[np.int16]
    words: NDArray[np.int16]
    proved: NDArray[np.int16]
    tile: TileScratch


def new_tile_batch(shape: TileShape) -> TileBatch:
    """Scratch memory, and the bit that stands for each column in each lane."""
    m = shape.m
    bits = aligned(m * LANES, np.int16)
    column, lane = np.arange(m)[:, None], np.arange(LANES)
    bits[:] = (1 << (column % ROW + lane // shape.strips * m)).astype(np.int16).ravel()
    return TileBatch(
        lanes=aligned((m + 1) * m * LANES, np.int16),
        packed=aligned(LANES * ROW, np.int16),
        u=aligned(m * LANES, np.int16),
        v=aligned(m * LANES, np.int16),
        bits=bits,
        words=aligned(m * shape.halves * LANES, np.int16),
        proved=aligned(LANES, np.int16),
        tile=new_tile_scratch(shape),
    )


@inlined
def clear_potentials(batch, shape):
    """Start all tiles from potentials 0."""
    none = load(batch.u, 0) ^ load(batch.u, 0)
    for k in range(shape.m):
        store(batch.u, k * LANES, none)
        store(batch.v, k * LANES, none)


@inlined
def write_masks(mask, stride, strips, used, batch, shape):
    """Write the mask words as bytes; 64 at once where strips are neighbours in memory."""
    words = batch.words
    together = 4 // shape.halves
    slot = 0
    while slot < used:
        start = strips.position[slot]
        end_slot = slot + together - 1
        joined = end_slot < used and GAPLESS_COLUMNS % shape.m == 0
        # Each place: strips from the queue come in any order, so the first and last say too little.
        for k in range(slot + 1, end_slot + 1):
            after = start + (k - slot) * ROW * shape.halves
            joined = joined and strips.position[k] == after
        if joined:
            for i in range(shape.m):
                store_mask(mask, start + i * stride, words, (i * LANES + slot) * shape.halves)
            slot += together
            continue
        for i in range(shape.m):
            word = (i * LANES + slot) * shape.halves
            store_bits(mask, start + i * stride, words[word], shape, 0)
            if shape.m > ROW:
                store_bits(mask, start + i * stride + ROW, words[word + 1], shape, 1)
        slot += 1


@inlined
def prefetch_strip(weights, mask, config, start, with_mask, shape):
    """Prefetch a strip, and a cache line of the mask, which holds four strips' rows."""
    for i in range(shape.m):
        for half in range(shape.halves):
            prefetch(weights, start + i * config.stride + half * ROW, 0, shape)
        if with_mask:
            prefetch(mask, start + i * config.stride, 1, shape)


@inlined
def relaxation_of(config, k):
    """The over-relaxation of round k >= 1 where ties are likely; for k = 0 the usual one."""
    last = config.relaxations - 1
    at = 2 * (k if k < last else last)
    return config.relaxation_shifts[at], config.relaxation_shifts[at + 1]


@inlined
def ascend_batch(weights, mask, config, strips, batch, tied, rounds, warm_start, shape):
    """Dual ascent for so many rounds; then mask words and which tiles are proved.

    Prefetches the next batch meanwhile. With a warm start the last round centres the potentials
    between kept and pruned entries, so that they survive larger changes of the weights.
    """
    if warm_start is not None:
        rounds -= 1
    slot = 0
    for k in range(1, rounds + 1):
        while slot < strips.prefetch_count[0] * k // rounds:
            prefetch_strip(
                weights, mask, config, strips.prefetch_position[slot], slot % 4 == 0, shape
            )
            slot += 1
        relaxation = relaxation_of(config, k if tied else 0)
        ascend(batch.lanes, batch.u, batch.v, relaxed_midpoint, relaxation, shape)
    if warm_start is not None:
        centre(batch.lanes, batch.u, batch.v, shape)
    strips.prefetch_count[0] = 0
    proved = threshold(batch.lanes, batch.u, batch.v, batch.bits, batch.words, shape)
    store(batch.proved, 0, proved)


@inlined
def enumerate_batch(weights, mask, config, strips, batch, shape):
    """Enumerate the masks of 4 x 4 tiles instead; prefetches the next batch before."""
    for slot in range(strips.prefetch_count[0]):
        prefetch_strip(weights, mask, config, strips.prefetch_position[slot], slot % 4 == 0, shape)
    strips.prefetch_count[0] = 0
    proved = enumerate_masks(batch.lanes, batch.bits, batch.words, shape)
    store(batch.proved, 0, proved)


def solve_fresh(weights, mask, config, strips, batch, shape):
    """:func:`enumerate_batch`, compiled only for tiles of 4 x 4."""


@inlined
def _never_called(weights, mask, config, strips, batch, shape):
    pass


@overload(solve_fresh, jit_options=HELPER_OPTIONS | {"forceinline": True})
def _choose_first_stage(weights, mask, config, strips, batch, shape):
    return enumerate_batch if shape.m == SIDE else _never_called


@inlined
def reject_saturated(batch, fresh, shape):
    """Take back proofs that rest on clipped scores, which the first stage does not have."""
    if not fresh:
        proved = load(batch.proved, 0)
        proved = within_limits(batch.lanes, batch.u, batch.v, proved, shape)
        store(batch.proved, 0, proved)


@inlined
def all_proved(batch):
    """Whether all 32 tiles are proved."""
    proved = load(batch.proved, 0)
    return any_bits(proved ^ like(proved, -1)) == 0


@inlined
def has_unproved(batch, slot, shape):
    """Whether the strip has an unproved tile."""
    unproved = False
    for tile in range(shape.tiles):
        unproved = unproved or batch.proved[lane_of(slot, tile, shape)] == 0
    return unproved
