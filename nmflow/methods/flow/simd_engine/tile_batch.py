"""A panel: working memory for 32 tiles, solved side by side and written as masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from nmflow.compiling.jit import inlined
from nmflow.methods.flow.simd_engine.dual_ascent import (
    ascend,
    centre,
    relaxed_midpoint,
    threshold,
    within_limits,
)
from nmflow.methods.flow.simd_engine.enumeration import enumerate_masks
from nmflow.methods.flow.simd_engine.shortest_paths import Tile, new_tile
from nmflow.methods.flow.simd_engine.strips import aligned, lane_of
from nmflow.simd.enumeration import SIDE
from nmflow.simd.integers import any_bits, like
from nmflow.simd.layout import prefetch, store_bits, store_mask
from nmflow.simd.tile_shape import LANES, ROW, TileShape
from nmflow.simd.vectors import load, store

# Pieces lie side by side without gaps if tiles of m columns fill them, m dividing this.
WHOLE_PIECES = 2 * ROW


class Panel(NamedTuple):
    """Working memory for 32 tiles."""

    lanes: NDArray[np.int16]
    packed: NDArray[np.int16]
    u: NDArray[np.int16]
    v: NDArray[np.int16]
    bits: NDArray[np.int16]
    words: NDArray[np.int16]
    settled: NDArray[np.int16]
    tile: Tile


def new_panel(shape: TileShape) -> Panel:
    """Working memory, and the bit that stands for each column in each lane."""
    m = shape.m
    bits = aligned(m * LANES, np.int16)
    column, lane = np.arange(m)[:, None], np.arange(LANES)
    bits[:] = (1 << (column % ROW + lane // shape.pieces * m)).astype(np.int16).ravel()
    return Panel(
        lanes=aligned((m + 1) * m * LANES, np.int16),
        packed=aligned(LANES * ROW, np.int16),
        u=aligned(m * LANES, np.int16),
        v=aligned(m * LANES, np.int16),
        bits=bits,
        words=aligned(m * shape.halves * LANES, np.int16),
        settled=aligned(LANES, np.int16),
        tile=new_tile(shape),
    )


@inlined
def write_masks(mask, stride, pieces, used, panel, shape):
    """The bits of each piece as bytes in their place, 64 at once where pieces stand together."""
    words = panel.words
    together = 4 // shape.halves
    slot = 0
    while slot < used:
        place = pieces.position[slot]
        last = slot + together - 1
        joined = last < used and WHOLE_PIECES % shape.m == 0
        # Each place: pieces from the queue come in any order, so the first and last say too little.
        for k in range(slot + 1, last + 1):
            after = place + (k - slot) * ROW * shape.halves
            joined = joined and pieces.position[k] == after
        if joined:
            for i in range(shape.m):
                store_mask(mask, place + i * stride, words, (i * LANES + slot) * shape.halves)
            slot += together
            continue
        for i in range(shape.m):
            word = (i * LANES + slot) * shape.halves
            store_bits(mask, place + i * stride, words[word], shape, 0)
            if shape.m > ROW:
                store_bits(mask, place + i * stride + ROW, words[word + 1], shape, 1)
        slot += 1


@inlined
def fetch(weights, mask, problem, place, with_mask, shape):
    """Bring a piece nearer, and its line of the mask, which it shares with three others."""
    for i in range(shape.m):
        for half in range(shape.halves):
            prefetch(weights, place + i * problem.stride + half * ROW, 0, shape)
        if with_mask:
            prefetch(mask, place + i * problem.stride, 1, shape)


@inlined
def share_of(problem, k):
    """What of a move is added to it in the k-th round where ties are likely, or elsewhere."""
    at = 2 * min(k, problem.shares.size // 2 - 1)
    return problem.shares[at], problem.shares[at + 1]


@inlined
def solve_panel(weights, mask, problem, pieces, panel, tied, rounds, memory, shape):
    """Ascend, and see what is settled; meanwhile fetch the next panel."""
    if memory is not None:
        rounds -= 1
    slot = 0
    for k in range(1, rounds + 1):
        while slot < pieces.fetched[0] * k // rounds:
            fetch(weights, mask, problem, pieces.ahead[slot], slot % 4 == 0, shape)
            slot += 1
        share = share_of(problem, k if tied else 0)
        ascend(panel.lanes, panel.u, panel.v, relaxed_midpoint, share, shape)
    if memory is not None:
        centre(panel.lanes, panel.u, panel.v, shape)
    pieces.fetched[0] = 0
    settled = threshold(panel.lanes, panel.u, panel.v, panel.bits, panel.words, shape)
    store(panel.settled, 0, settled)


@inlined
def enumerate_panel(weights, mask, problem, pieces, panel, shape):
    """Look at all masks of tiles of 4 x 4; fetch the next panel."""
    for slot in range(pieces.fetched[0]):
        fetch(weights, mask, problem, pieces.ahead[slot], slot % 4 == 0, shape)
    pieces.fetched[0] = 0
    settled = enumerate_masks(panel.lanes, panel.bits, panel.words, shape)
    store(panel.settled, 0, settled)


def solve_fresh(weights, mask, problem, pieces, panel, shape):
    """:func:`enumerate_panel`, which is compiled only for the tiles that it is for."""


@inlined
def _never_called(weights, mask, problem, pieces, panel, shape):
    pass


@overload(solve_fresh, jit_options={"forceinline": True})
def _choose_first_stage(weights, mask, problem, pieces, panel, shape):
    return enumerate_panel if shape.m == SIDE else _never_called


@inlined
def exclude(panel, fresh, shape):
    """Call open what saturated scores might have settled, of which the first stage has none."""
    if not fresh:
        settled = load(panel.settled, 0)
        settled = within_limits(panel.lanes, panel.u, panel.v, settled, shape)
        store(panel.settled, 0, settled)


@inlined
def all_settled(panel):
    """Whether no tile of the panel is open."""
    settled = load(panel.settled, 0)
    return any_bits(settled ^ like(settled, -1)) == 0


@inlined
def is_open(panel, slot, shape):
    """Whether any tile of the piece is not settled."""
    unsettled = False
    for tile in range(shape.tiles):
        unsettled = unsettled or panel.settled[lane_of(slot, tile, shape)] == 0
    return unsettled
