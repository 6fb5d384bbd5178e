"""What the lane engine remembers from one solve to the next of nearly the same weights.

Potentials of the first stage, 16 bits each beside the piece's exponent (so they are in real units,
whatever the next exponent is), and the masks as bits, so that only what changes is written.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from nmflow.kernels.lanes_pieces import aligned
from nmflow.simd.lanes import bit_count
from nmflow.simd.layout import store_bits
from nmflow.simd.static import LANES, ROW, TileShape
from nmflow.simd.vectors import load, store

RANGE = (1 << 15) - 2


class Memory(NamedTuple):
    """By piece, in the order in which a box is solved.

    Attributes
    ----------
    u, v : potentials of the first stage, a vector of 32 tiles for each row or column of a panel
    exponent : what their unit was
    words, changed : the masks' bits, 16 to each row of a piece; which differ in a panel at work
    warm : whether the piece was solved before
    left : the pieces that the engine leaves open
    counters : entries flipped, tiles settled from these potentials at once, rounds, cold rounds
    band : with fewer, and with more open pieces to a panel than these, rounds become fewer, more
    """

    u: NDArray[np.int16]
    v: NDArray[np.int16]
    exponent: NDArray[np.int16]
    words: NDArray[np.int16]
    changed: NDArray[np.int16]
    warm: NDArray[np.bool_]
    left: NDArray[np.int64]
    counters: NDArray[np.int64]
    band: NDArray[np.float64]


def new_memory(shape: TileShape, pieces: int, rounds: int, band: tuple[float, float]) -> Memory:
    """Memory for so many pieces, none of them solved yet."""
    panels = -(-pieces // shape.pieces)
    m = shape.m
    return Memory(
        u=aligned(panels * m * LANES, np.int16),
        v=aligned(panels * m * LANES, np.int16),
        exponent=np.zeros(panels * shape.pieces, np.int16),
        words=aligned(panels * LANES * m * shape.halves, np.int16),
        changed=aligned(LANES * shape.halves, np.int16),
        warm=np.zeros(panels * shape.pieces, np.bool_),
        left=np.zeros(pieces, np.int64),
        counters=np.array([0, 0, 2, rounds]),
        band=np.array(band),
    )


@register_jitable
def rescaled(value, change):
    """A potential in another unit, as near as 16 bits allow."""
    if change < -16:
        return 0
    value = value << min(change, 16) if change > 0 else value >> -change
    return max(min(value, RANGE), -RANGE)


@register_jitable(forceinline=True)
def recall(pieces, panel, memory, first, center, shape):
    """Start a panel, whose first piece that is, from its last potentials; the rounds to go."""
    m = shape.m
    start = first // shape.pieces * m * LANES
    for k in range(0, m * LANES, LANES):
        store(panel.u, k, load(memory.u, start + k))
        store(panel.v, k, load(memory.v, start + k))
    warm = True
    for slot in range(shape.pieces):
        warm = warm and memory.warm[first + slot]
        change = memory.exponent[first + slot] - pieces.exponent[slot]
        if change != 0:
            for t in range(slot * shape.tiles, (slot + 1) * shape.tiles):
                for k in range(t, m * LANES, LANES):
                    panel.u[k] = rescaled(panel.u[k] + center, change) - center
                    panel.v[k] = rescaled(panel.v[k], change)
    return memory.counters[2] if warm else memory.counters[3]


@register_jitable(forceinline=True)
def remember(pieces, panel, memory, first, unsettled, shape):
    """Keep a panel's potentials, and learn from how many of its pieces are still open."""
    m = shape.m
    start = first // shape.pieces * m * LANES
    for k in range(0, m * LANES, LANES):
        store(memory.u, start + k, load(panel.u, k))
        store(memory.v, start + k, load(panel.v, k))
    for slot in range(shape.pieces):
        memory.exponent[first + slot] = pieces.exponent[slot]
        memory.warm[first + slot] = True
    rounds = memory.counters[2]
    if unsettled < memory.band[0] * shape.pieces:
        memory.counters[2] = max(rounds - 1, 1)
    elif unsettled > memory.band[1] * shape.pieces:
        memory.counters[2] = min(rounds + 1, memory.counters[3])


@register_jitable(forceinline=True)
def compare(panel, memory, first, shape):
    """Note which words of a whole panel, whose first piece that is, differ from those kept."""
    row = LANES * shape.halves
    start = first // shape.pieces * shape.m * row
    for k in range(0, row, LANES):
        differing = load(panel.words, k) ^ load(memory.words, start + k)
        for i in range(1, shape.m):
            place = i * row + k
            differing = differing | (load(panel.words, place) ^ load(memory.words, start + place))
        store(memory.changed, k, differing)


@register_jitable(forceinline=True)
def is_changed(memory, slot, shape):
    """Whether :func:`compare` found the piece changed."""
    if shape.halves == 1:
        return memory.changed[slot] != 0
    return memory.changed[2 * slot] != 0 or memory.changed[2 * slot + 1] != 0


@register_jitable(forceinline=True)
def own_tiles(pieces, slot, shape):
    """How many tiles of a piece no piece before it has."""
    return bit_count(pieces.own[slot] & 0xFFFF) // min(shape.m, ROW)


@register_jitable(forceinline=True)
def write_changes(mask, stride, pieces, slot, panel, memory, shape):
    """Write the rows of a settled piece's mask that changed, and count the entries."""
    ordinal = pieces.ordinal[slot]
    panel_start = ordinal // shape.pieces * shape.m
    place = pieces.position[slot]
    for i in range(shape.m):
        for half in range(shape.halves):
            word = panel.words[(i * LANES + slot) * shape.halves + half]
            home = ((panel_start + i) * LANES + ordinal % shape.pieces) * shape.halves + half
            change = word ^ memory.words[home]
            if change != 0:
                memory.counters[0] += bit_count(change & pieces.own[slot] & 0xFFFF)
                memory.words[home] = word
                if half == 0:
                    store_bits(mask, place + i * stride, word, shape, 0)
                elif shape.m > ROW:
                    store_bits(mask, place + i * stride + ROW, word, shape, 1)
