"""What is kept from one solve to the next of nearly the same weights: potentials and masks.

Where each kept score still exceeds its u + v, and no pruned one does, the last mask is still the
only optimal one. One pass over the weights where they lie tells (:func:`check_still_optimal`).
Other strips are solved, starting from these potentials.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import inlined
from nmflow.compiling.structs import Struct
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
from nmflow.simd.layout import broadcast_to_columns, prefetch, store_bits
from nmflow.simd.tile_shape import LANES, ROW, TileShape
from nmflow.simd.vectors import load, maximum, minimum, store
from nmflow.solvers.flow.simd_engine.fixed_point import (
    GREATEST_WARM_EXPONENT,
    LEAST_WARM_EXPONENT,
    SCORE_LIMIT,
    SPARE_BITS,
    WARM_BITS,
    WARM_LIMIT,
    WARM_SHIFT,
)
from nmflow.solvers.flow.simd_engine.read import scores
from nmflow.solvers.flow.simd_engine.strips import aligned

PREFETCHED_STRIPS = 4
"""Prefetch distance."""


class WarmStart(Struct, pointers=True):
    """By strip, in the order in which a box is solved.

    Attributes
    ----------
    u, v : potentials as scores; of each row the tiles' in turn, of each column
    words : the masks, a word of 16 bits for each row and strip, or two
    valid : whether the strip was solved before
    unproved : the ordinals of the strips that the engine left to the fallback
    counters : entries that changed; tiles proved from these potentials, at once or by the first
        stage
    """

    u: NDArray[np.float32]
    v: NDArray[np.float32]
    words: NDArray[np.int16]
    valid: NDArray[np.bool_]
    unproved: NDArray[np.int64]
    counters: NDArray[np.int64]


def new_warm_start(shape: TileShape, strips: int) -> WarmStart:
    """For so many strips, none of them solved yet."""
    return WarmStart(
        u=aligned(strips * shape.m * shape.tiles, np.float32),
        v=aligned(strips * shape.halves * ROW, np.float32),
        words=aligned(strips * shape.m * shape.halves, np.int16),
        valid=np.zeros(strips, np.bool_),
        unproved=np.zeros(strips, np.int64),
        counters=np.zeros(2, np.int64),
    )


def round_potentials(warm_start: WarmStart) -> None:
    """Round potentials that were given from outside, so that float32 adds u and v exactly.

    Strips where that is impossible become invalid.
    """
    u, v = (part.reshape(len(warm_start.valid), -1) for part in (warm_start.u, warm_start.v))
    both = np.concatenate((u, v), axis=1)
    finite = np.isfinite(both).all(axis=1)
    both[~finite] = 0
    _, exponent = np.frexp(np.abs(both).max(axis=1, initial=0))
    warm_start.valid[:] &= (
        finite & (exponent >= LEAST_WARM_EXPONENT) & (exponent <= GREATEST_WARM_EXPONENT)
    )
    both[~warm_start.valid] = 0
    exponent[~warm_start.valid] = 0
    unit = np.ldexp(np.float32(1), exponent - WARM_BITS)[:, None]
    both = np.rint(both / unit) * unit
    u[:], v[:] = both[:, : u.shape[1]], both[:, u.shape[1] :]


@inlined
def check_still_optimal(weights, position, ordinal, stride, warm_start, shape, signed):
    """Whether a strip's last mask is still proved; and, lane by lane, its largest magnitudes' bits.

    Parameters
    ----------
    position, ordinal : int
        Index of the strip's first entry, and its number.

    Notes
    -----
    NaN and infinities may pass: :func:`scale.choose_scale` finds them by the magnitudes.
    """
    most = bits_of(magnitude(load_row(weights, position)))
    differing = np.int16(0)
    for half in range(shape.halves):
        v = load(warm_start.v, (ordinal * shape.halves + half) * ROW)
        for i in range(shape.m):
            start_of_row = position + i * stride + half * ROW
            prefetch(weights, start_of_row + PREFETCHED_STRIPS * shape.halves * ROW, 0, shape)
            most = maximum(most, bits_of(magnitude(load_row(weights, start_of_row))))
            bound = (
                broadcast_to_columns(warm_start.u, (ordinal * shape.m + i) * shape.tiles, shape) + v
            )
            word = warm_start.words[(ordinal * shape.m + i) * shape.halves + half]
            differing |= word ^ exceeding(scores(weights, start_of_row, signed), bound)
    return warm_start.valid[ordinal] and differing == 0, most


@inlined
def load_potentials(strips, slot, warm_start, config, shape):
    """Start a strip from the potentials of its last solve, through the warm window."""
    size = shape.halves * ROW
    offset = strips.ordinal[slot] * size
    scale = power_of_two(config.fixed_bits - strips.exponent[slot], warm_start.u)
    for k in range(0, size, ROW):
        u, v = load(warm_start.u, offset + k), load(warm_start.v, offset + k)
        store(
            strips.u,
            slot * size + k,
            to_fixed_point(u, scale, -WARM_LIMIT, SCORE_LIMIT - WARM_LIMIT),
        )
        store(strips.v, slot * size + k, to_fixed_point(v, scale, -WARM_LIMIT, WARM_LIMIT))
    strips.shift[slot] = WARM_SHIFT


@inlined
def to_fixed_point(potential, scale, least, most):
    """Potentials in fixed point, without SPARE_BITS low bits, clipped to the bounds."""
    number = potential * like(potential, scale)
    whole = to_int32(maximum(minimum(number, like(potential, most)), like(potential, least)))
    return whole & like(whole, -1 << SPARE_BITS)


@inlined
def save_potentials(strips, slot, warm_start, config, shape):
    """Keep the current potentials of a strip, rounded down to WARM_BITS bits."""
    size = shape.halves * ROW
    ordinal, exponent = strips.ordinal[slot], strips.exponent[slot]
    offset, start = ordinal * size, slot * size
    warm_start.valid[ordinal] = LEAST_WARM_EXPONENT <= exponent <= GREATEST_WARM_EXPONENT
    u, v = load(strips.u, start), load(strips.v, start)
    most = magnitude_bits(u) | magnitude_bits(v)
    if shape.halves == 2:
        u, v = load(strips.u, start + ROW), load(strips.v, start + ROW)
        most = most | magnitude_bits(u) | magnitude_bits(v)
    # Float32 adds numbers of so many bits exactly.
    spare = 0
    every = any_bits(most)
    while every >> spare >= 1 << WARM_BITS:
        spare += 1
    unit = power_of_two(exponent - config.fixed_bits + spare, warm_start.u)
    for k in range(0, size, ROW):
        store(
            warm_start.u,
            offset + k,
            to_floats_in_units(load(strips.u, start + k), spare, unit, warm_start.u),
        )
        store(
            warm_start.v,
            offset + k,
            to_floats_in_units(load(strips.v, start + k), spare, unit, warm_start.v),
        )


@inlined
def magnitude_bits(number):
    """A number whose highest bit is that of the magnitude."""
    return number ^ (number >> like(number, 31))


@inlined
def to_floats_in_units(number, spare, unit, array):
    """Fixed point without ``spare`` low bits, times a unit, as floats of the array's kind."""
    floats = to_floats(number >> like(number, spare), load(array, 0))
    return floats * like(floats, unit)


@inlined
def count_new_tiles(non_overlapping, shape):
    """How many tiles of a strip no strip before it has; see ``Strips.non_overlapping``."""
    return bit_count(non_overlapping & 0xFFFF) // min(shape.m, ROW)


@inlined
def write_changes(mask, stride, strips, slot, words, warm_start, shape):
    """Write the rows of a proved strip's mask that changed, and count changed entries."""
    ordinal, start_of_row = strips.ordinal[slot], strips.position[slot]
    for i in range(shape.m):
        for half in range(shape.halves):
            word = words[(i * LANES + slot) * shape.halves + half]
            offset = (ordinal * shape.m + i) * shape.halves + half
            change = word ^ warm_start.words[offset]
            if change != 0:
                warm_start.counters[0] += bit_count(change & strips.non_overlapping[slot] & 0xFFFF)
                warm_start.words[offset] = word
                if half == 0:
                    store_bits(mask, start_of_row + i * stride, word, shape, 0)
                elif shape.m > ROW:
                    store_bits(mask, start_of_row + i * stride + ROW, word, shape, 1)
