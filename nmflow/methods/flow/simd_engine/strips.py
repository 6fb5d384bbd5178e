"""The pieces of a panel, and those that wait: where they lie and on what potentials they stand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import inlined
from nmflow.methods.flow.simd_engine.dual_ascent import LIMIT
from nmflow.simd.integers import any_bits, like
from nmflow.simd.layout import as_rows, of_piece, tile_totals
from nmflow.simd.tile_shape import LANES, ROW, TileShape
from nmflow.simd.vectors import load, maximum, minimum, store

FIRST_SHIFT = 15
"""How many bits of the fixed point the first stage leaves out."""
SPARE = 4
"""Low bits that the potentials on which a piece begins never have."""


class Pieces(NamedTuple):
    """For each slot of a panel, and of the queue behind it, what is known of its piece.

    Attributes
    ----------
    position, ahead : where the piece begins; where the next panel's piece will
    ordinal, own : its number; the bits of a row that no piece before it has
    exponent : its magnitudes are below 2**exponent
    scale, coarse : what turns scores into fixed point, and into the first stage's integers
    lift : what turns the tie table into those, or zero where it is not shown
    tabled, unit : whether the fixed point holds the tie table, then below 2**unit
    shown : whether the first stage looks at that table too
    finished : whether its tiles were solved one by one
    stage, shift : how often it was solved; the low bits that its next stage leaves out
    fetched : how many of ``ahead`` count
    u, v : potentials in fixed point, of each row the tiles' in turn, of each tile the columns'
    """

    position: NDArray[np.int64]
    ahead: NDArray[np.int64]
    ordinal: NDArray[np.int64]
    own: NDArray[np.int16]
    exponent: NDArray[np.int64]
    scale: NDArray[Any]
    coarse: NDArray[Any]
    lift: NDArray[Any]
    tabled: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    finished: NDArray[np.bool_]
    unit: NDArray[np.int64]
    stage: NDArray[np.int64]
    shift: NDArray[np.int64]
    fetched: NDArray[np.int64]
    u: NDArray[np.int32]
    v: NDArray[np.int32]


def aligned(count: int, kind: Any) -> NDArray[Any]:
    """Zeros that begin where a cache line does."""
    memory = np.zeros(count * np.dtype(kind).itemsize + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + count * np.dtype(kind).itemsize].view(kind)


def new_pieces(shape: TileShape, kind: Any) -> Pieces:
    """Room for a panel's pieces and, behind them, for a queue of two panels."""
    count = 3 * shape.pieces
    return Pieces(
        position=np.zeros(count, np.int64),
        ahead=np.zeros(shape.pieces, np.int64),
        ordinal=np.zeros(count, np.int64),
        own=np.zeros(count, np.int16),
        exponent=np.zeros(count, np.int64),
        scale=np.zeros(count, kind),
        coarse=np.zeros(count, kind),
        lift=np.zeros(count, kind),
        tabled=np.zeros(count, np.bool_),
        shown=np.zeros(count, np.bool_),
        finished=np.zeros(count, np.bool_),
        unit=np.zeros(count, np.int64),
        stage=np.zeros(count, np.int64),
        shift=np.zeros(count, np.int64),
        fetched=np.zeros(1, np.int64),
        u=aligned(count * shape.halves * ROW, np.int32),
        v=aligned(count * shape.halves * ROW, np.int32),
    )


@inlined
def lane_of(slot, tile, shape):
    """Where a piece's tile lies; see TileShape."""
    return tile * shape.pieces + slot


@inlined
def fill(array, value, shape):
    """The same for all pieces of a panel."""
    for slot in range(shape.pieces):
        array[slot] = value


@inlined
def forget(pieces, shape):
    """Begin a panel of pieces of which nothing is known yet."""
    fill(pieces.tabled, False, shape)
    fill(pieces.shown, False, shape)
    fill(pieces.finished, False, shape)
    fill(pieces.unit, 0, shape)
    fill(pieces.stage, 0, shape)
    fill(pieces.shift, FIRST_SHIFT, shape)


@inlined
def copy_piece(pieces, source, target, shape):
    """Move one piece to another slot."""
    pieces.position[target] = pieces.position[source]
    pieces.ordinal[target] = pieces.ordinal[source]
    pieces.own[target] = pieces.own[source]
    pieces.exponent[target] = pieces.exponent[source]
    pieces.scale[target] = pieces.scale[source]
    pieces.coarse[target] = pieces.coarse[source]
    pieces.tabled[target] = pieces.tabled[source]
    pieces.shown[target] = pieces.shown[source]
    pieces.finished[target] = pieces.finished[source]
    pieces.unit[target] = pieces.unit[source]
    pieces.stage[target] = pieces.stage[source]
    pieces.shift[target] = pieces.shift[source]
    size = shape.halves * ROW
    for k in range(0, size, ROW):
        store(pieces.u, target * size + k, load(pieces.u, source * size + k))
        store(pieces.v, target * size + k, load(pieces.v, source * size + k))


@inlined
def start_base(pieces, slot, problem, shape):
    """Stand a piece on the zero of the first stage."""
    for k in range(slot * shape.halves * ROW, (slot + 1) * shape.halves * ROW, ROW):
        zero = load(pieces.v, k) ^ load(pieces.v, k)
        store(pieces.u, k, like(zero, problem.center << FIRST_SHIFT))
        store(pieces.v, k, zero)


@inlined
def add_limited(base, start, change, shift):
    """Add potentials, kept within the range in which nothing overflows; what that takes off."""
    within = minimum(maximum(change, like(change, -LIMIT)), like(change, LIMIT - 1))
    store(base, start, load(base, start) + (within << like(within, shift)))
    return change - within


@inlined
def beyond(value):
    """What :func:`add_limited` takes off."""
    return np.int32(value - max(min(value, LIMIT - 1), -LIMIT))


@inlined
def mean_of(v, lane, shape):
    """Of one tile's potentials, rounded as :func:`move_base` does."""
    total = 0
    for j in range(shape.m):
        total += v[j * LANES + lane]
    return total // shape.m if total >= 0 else -(-total // shape.m)


@inlined
def move_base(pieces, slot, panel, shape):
    """Add the potentials that a stage found to those that the piece stands on.

    Only differences count: v is centred, which keeps both within what 32 bits can add. Returns
    whether all are within the range in which nothing overflows.
    """
    shift = pieces.shift[slot]
    start = slot * shape.halves * ROW
    v = of_piece(panel.v, slot, False, 0, shape)
    if shape.halves == 2:
        other = of_piece(panel.v, slot, False, 1, shape)
        mean = tile_totals(v + other, shape) // like(v, shape.m)
        outside = add_limited(pieces.v, start + ROW, other - mean, shift)
        u = of_piece(panel.u, slot, True, 1, shape)
        outside = outside | add_limited(pieces.u, start + ROW, u + mean, shift)
    else:
        mean = tile_totals(v, shape) // like(v, shape.m)
        outside = v ^ v
    outside = outside | add_limited(pieces.v, start, v - mean, shift)
    u = of_piece(panel.u, slot, True, 0, shape)
    outside = outside | add_limited(pieces.u, start, u + as_rows(mean, shape), shift)
    return any_bits(outside) == 0
