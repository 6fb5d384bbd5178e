"""What the lane engine remembers from one solve to the next of nearly the same weights.

Potentials in the scores' units, and the masks as bits. Where each kept score still exceeds the sum
of its potentials, and no pruned one does, the mask is still the only optimal one: one look at the
weights where they lie tells, without lanes (:func:`glance`). Pieces of which that is not true are
solved, from these potentials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import inlined
from nmflow.methods.flow.simd_engine.read import FIXED_BITS, scores
from nmflow.methods.flow.simd_engine.strips import SPARE, aligned
from nmflow.simd.floats import (
    bits_of,
    exceeding,
    load_row,
    magnitude,
    power_of_two,
    to_floats,
    to_int32,
)
from nmflow.simd.integers import any_bits, bit_count, like
from nmflow.simd.layout import prefetch, spread, store_bits
from nmflow.simd.tile_shape import LANES, ROW, TileShape
from nmflow.simd.vectors import load, maximum, minimum, store

WARM_SHIFT = 13
"""Low bits that the first stage of a remembered piece leaves out."""
LEAST_EXPONENT, GREATEST_EXPONENT = -89, 120
"""Tiles of smaller or larger numbers are not remembered: sums must be normal and finite."""
HIGHEST_SCORE = 1 << FIXED_BITS
FAR = HIGHEST_SCORE >> 2
"""Remembered potentials are kept from -FAR to HIGHEST_SCORE - FAR (rows) or to FAR (columns). The
narrow window moves each by LIMIT << WARM_SHIFT, an eighth of HIGHEST_SCORE, at most, and later ones
by far less: so score - u - v stays within twice HIGHEST_SCORE, which 32 bits hold."""
AHEAD = 4
"""How many pieces ahead weights are fetched."""


class Memory(NamedTuple):
    """By piece, in the order in which a box is solved.

    Attributes
    ----------
    u, v : potentials, of each row the tiles' in turn, and of each column
    words : the masks' bits, 16 to each row, or twice 16
    warm : whether the piece was solved before
    left : the pieces that the engine leaves open
    counters : entries flipped; tiles settled from these potentials at once
    """

    u: NDArray[np.float32]
    v: NDArray[np.float32]
    words: NDArray[np.int16]
    warm: NDArray[np.bool_]
    left: NDArray[np.int64]
    counters: NDArray[np.int64]


def new_memory(shape: TileShape, pieces: int) -> Memory:
    """Memory for so many pieces, none of them solved yet."""
    return Memory(
        u=aligned(pieces * shape.m * shape.tiles, np.float32),
        v=aligned(pieces * shape.halves * ROW, np.float32),
        words=aligned(pieces * shape.m * shape.halves, np.int16),
        warm=np.zeros(pieces, np.bool_),
        left=np.zeros(pieces, np.int64),
        counters=np.zeros(2, np.int64),
    )


def put_on_grid(memory: Memory) -> None:
    """Make potentials from anywhere such that float32 adds those of a piece exactly.

    A piece is forgotten where that can't be.
    """
    u, v = (part.reshape(len(memory.warm), -1) for part in (memory.u, memory.v))
    both = np.concatenate((u, v), axis=1)
    finite = np.isfinite(both).all(axis=1)
    both[~finite] = 0
    _, exponent = np.frexp(np.abs(both).max(axis=1, initial=0))
    memory.warm[:] &= finite & (exponent >= LEAST_EXPONENT) & (exponent <= GREATEST_EXPONENT)
    both[~memory.warm] = 0
    exponent[~memory.warm] = 0
    unit = np.ldexp(np.float32(1), exponent - 23)[:, None]
    both = np.rint(both / unit) * unit
    u[:], v[:] = both[:, : u.shape[1]], both[:, u.shape[1] :]


@inlined
def glance(weights, position, ordinal, stride, memory, shape, signed):
    """Whether a piece's last mask is still proved; and the bits of its largest magnitudes.

    NaN and infinities may pass for what they are not: the magnitudes tell.
    """
    most = bits_of(magnitude(load_row(weights, position)))
    differing = np.int16(0)
    for half in range(shape.halves):
        v = load(memory.v, (ordinal * shape.halves + half) * ROW)
        for i in range(shape.m):
            place = position + i * stride + half * ROW
            prefetch(weights, place + AHEAD * shape.halves * ROW, 0, shape)
            most = maximum(most, bits_of(magnitude(load_row(weights, place))))
            bound = spread(memory.u, (ordinal * shape.m + i) * shape.tiles, shape) + v
            word = memory.words[(ordinal * shape.m + i) * shape.halves + half]
            differing |= word ^ exceeding(scores(weights, place, signed), bound)
    return memory.warm[ordinal] and differing == 0, most


@inlined
def recall(pieces, slot, memory, problem, shape):
    """Stand a piece on the potentials it had."""
    size = shape.halves * ROW
    home = pieces.ordinal[slot] * size
    scale = power_of_two(problem.fixed_bits - pieces.exponent[slot], memory.u)
    for k in range(0, size, ROW):
        u, v = load(memory.u, home + k), load(memory.v, home + k)
        store(pieces.u, slot * size + k, fixed(u, scale, -FAR, HIGHEST_SCORE - FAR))
        store(pieces.v, slot * size + k, fixed(v, scale, -FAR, FAR))
    pieces.shift[slot] = WARM_SHIFT


@inlined
def fixed(potential, scale, least, most):
    """In fixed point without its last bits, or the nearest within the bounds."""
    number = potential * like(potential, scale)
    whole = to_int32(maximum(minimum(number, like(potential, most)), like(potential, least)))
    return whole & like(whole, -1 << SPARE)


@inlined
def remember(pieces, slot, memory, problem, shape):
    """Keep the potentials on which a piece stands."""
    size = shape.halves * ROW
    ordinal, exponent = pieces.ordinal[slot], pieces.exponent[slot]
    home, start = ordinal * size, slot * size
    memory.warm[ordinal] = LEAST_EXPONENT <= exponent <= GREATEST_EXPONENT
    u, v = load(pieces.u, start), load(pieces.v, start)
    most = magnitude_bits(u) | magnitude_bits(v)
    if shape.halves == 2:
        u, v = load(pieces.u, start + ROW), load(pieces.v, start + ROW)
        most = most | magnitude_bits(u) | magnitude_bits(v)
    # Float32 adds numbers of so many bits exactly.
    spare = 0
    every = any_bits(most)
    while every >> spare >= 1 << 23:
        spare += 1
    unit = power_of_two(exponent - problem.fixed_bits + spare, memory.u)
    for k in range(0, size, ROW):
        store(memory.u, home + k, in_units(load(pieces.u, start + k), spare, unit, memory.u))
        store(memory.v, home + k, in_units(load(pieces.v, start + k), spare, unit, memory.v))


@inlined
def magnitude_bits(number):
    """What holds all bits that the number's magnitude has."""
    return number ^ (number >> like(number, 31))


@inlined
def in_units(number, spare, unit, array):
    """Of fixed point without its last bits, as floats of an array's kind."""
    floats = to_floats(number >> like(number, spare), load(array, 0))
    return floats * like(floats, unit)


@inlined
def own_tiles(own, shape):
    """How many tiles of a piece no piece before it has, given the bits of a row that are new."""
    return bit_count(own & 0xFFFF) // min(shape.m, ROW)


@inlined
def write_changes(mask, stride, pieces, slot, words, memory, shape):
    """Write the rows of a settled piece's mask that changed, and count the entries."""
    ordinal, place = pieces.ordinal[slot], pieces.position[slot]
    for i in range(shape.m):
        for half in range(shape.halves):
            word = words[(i * LANES + slot) * shape.halves + half]
            home = (ordinal * shape.m + i) * shape.halves + half
            change = word ^ memory.words[home]
            if change != 0:
                memory.counters[0] += bit_count(change & pieces.own[slot] & 0xFFFF)
                memory.words[home] = word
                if half == 0:
                    store_bits(mask, place + i * stride, word, shape, 0)
                elif shape.m > ROW:
                    store_bits(mask, place + i * stride + ROW, word, shape, 1)
