"""The lane engine of ``flow``: 32 tiles side by side in vectors of 16-bit integers.

Panels of 32 tiles are read from the matrix, solved by dual ascent and written as masks. Pieces
that hold a tile which a stage leaves open wait in its queue until they fill a panel again; the
next stage looks at the same scores through a finer window around the potentials found so far.
What the last stage leaves open goes to the scalar road, which starts from those potentials.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from nmflow.kernels.jit import compile_kernel
from nmflow.kernels.lanes_ascent import FOUR, LIMIT, ascend, threshold, within_limits
from nmflow.kernels.lanes_read import (
    FIRST_SHIFT,
    Pieces,
    is_clear,
    read_first,
    read_zoomed,
    scan,
)
from nmflow.simd.lanes import prefetch, store_bits, store_mask
from nmflow.simd.static import LANES, ROW, TileShape
from nmflow.simd.vectors import load, store

STAGES = 3
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


class Problem(NamedTuple):
    """How scores are read, and how long each stage ascends."""

    stride: int
    tables: NDArray[np.int32]
    table_shift: int
    fixed_bits: int
    center: int
    shifts: NDArray[np.int64]
    rounds: NDArray[np.int64]


def _aligned(count: int, kind: Any) -> NDArray[Any]:
    """Zeros that begin where a cache line does."""
    memory = np.zeros(count * np.dtype(kind).itemsize + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + count * np.dtype(kind).itemsize].view(kind)


def new_panel(shape: TileShape) -> Panel:
    """Working memory, and the bit that stands for each column in each lane."""
    m = shape.m
    bits = _aligned(m * LANES, np.int16)
    column, lane = np.arange(m)[:, None], np.arange(LANES)
    bits[:] = (1 << (column % ROW + lane % shape.tiles * m)).astype(np.int16).ravel()
    return Panel(
        lanes=_aligned((m + 1) * m * LANES, np.int16),
        packed=_aligned(LANES * ROW, np.int16),
        u=_aligned(m * LANES, np.int16),
        v=_aligned(m * LANES, np.int16),
        bits=bits,
        words=_aligned(m * shape.halves * LANES, np.int16),
        settled=_aligned(LANES, np.int16),
    )


def new_pieces(shape: TileShape, kind: Any) -> Pieces:
    """Room for a panel's pieces and, behind them, for each stage's queue of two panels."""
    count = (1 + 2 * STAGES) * shape.pieces
    return Pieces(
        position=np.zeros(count, np.int64),
        ahead=np.zeros(shape.pieces, np.int64),
        exponent=np.zeros(count, np.int64),
        scale=np.zeros(count, kind),
        coarse=np.zeros(count, kind),
        tabled=np.zeros(count, np.bool_),
        u=_aligned(count * shape.m * ROW, np.int32),
        v=_aligned(count * shape.halves * ROW, np.int32),
    )


@register_jitable
def copy_piece(pieces, source, target, shape):
    """Move one piece to another slot."""
    pieces.position[target] = pieces.position[source]
    pieces.exponent[target] = pieces.exponent[source]
    pieces.scale[target] = pieces.scale[source]
    pieces.coarse[target] = pieces.coarse[source]
    pieces.tabled[target] = pieces.tabled[source]
    size = shape.m * ROW
    for k in range(0, size, ROW):
        store(pieces.u, target * size + k, load(pieces.u, source * size + k))
    size = shape.halves * ROW
    for k in range(0, size, ROW):
        store(pieces.v, target * size + k, load(pieces.v, source * size + k))


@register_jitable
def write_masks(mask, stride, pieces, used, panel, shape):
    """The bits of each piece as bytes in their place, 64 at once where pieces stand together."""
    words = panel.words
    together = 4 // shape.halves
    slot = 0
    while slot < used:
        place = pieces.position[slot]
        last = slot + together - 1
        joined = last < used and WHOLE_PIECES % shape.m == 0
        if joined and pieces.position[last] == place + (together - 1) * ROW * shape.halves:
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


@register_jitable
def limited(value):
    """A potential within the range in which nothing overflows."""
    return np.int32(max(min(value, LIMIT - 1), -LIMIT))


@register_jitable
def move_base(pieces, slot, panel, shift, shape):
    """Add the potentials that a stage found to those that the piece stands on.

    Only differences count: v is centred, which keeps both within what 32 bits can add.
    """
    m = shape.m
    for tile in range(shape.tiles):
        t = slot * shape.tiles + tile
        total = 0
        for j in range(m):
            total += panel.v[j * LANES + t]
        mean = total // m
        for i in range(m):
            change = limited(panel.u[i * LANES + t] + mean) << shift
            for lane in range(0 if shape.tiles == 1 else tile * m, ROW if shape.tiles == 1 else (tile + 1) * m):
                pieces.u[(slot * m + i) * ROW + lane] += change
        for j in range(m):
            change = limited(panel.v[j * LANES + t] - mean) << shift
            pieces.v[slot * shape.halves * ROW + tile * m + j] += change


@register_jitable
def start_base(pieces, slot, center, shape):
    """Stand a piece on the zero of the first stage."""
    size = shape.m * ROW
    for k in range(slot * size, (slot + 1) * size):
        pieces.u[k] = center
    size = shape.halves * ROW
    for k in range(slot * size, (slot + 1) * size):
        pieces.v[k] = 0


@register_jitable
def fetch(weights, mask, problem, place, with_mask, shape):
    """Bring a piece nearer, and its line of the mask, which it shares with three others."""
    for i in range(shape.m):
        for half in range(shape.halves):
            prefetch(weights, place + i * problem.stride + half * ROW, 0)
        if with_mask:
            prefetch(mask, place + i * problem.stride, 1)


@register_jitable
def solve_panel(weights, mask, problem, pieces, panel, rounds, saturated, shape):
    """Ascend from zero potentials, and see what is settled; meanwhile fetch the next panel."""
    panel.u[:] = 0
    panel.v[:] = 0
    # Tiles of 4 x 4 leave memory no time to catch up with; all others fetch a little every round.
    at_once = rounds if shape.m == len(FOUR) else 1
    slot = 0
    for k in range(at_once, rounds + 1, at_once):
        while slot < shape.pieces * k // rounds:
            fetch(weights, mask, problem, pieces.ahead[slot], slot % 4 == 0, shape)
            slot += 1
        ascend(panel.lanes, panel.u, panel.v, shape, at_once)
    settled = threshold(panel.lanes, panel.u, panel.v, panel.bits, panel.words, shape)
    store(panel.settled, 0, settled)
    if saturated:
        within_limits(panel.settled, panel.u, panel.v, shape)


@register_jitable
def is_open(panel, slot, shape):
    """Whether any tile of the piece is not settled."""
    unsettled = False
    for t in range(slot * shape.tiles, (slot + 1) * shape.tiles):
        unsettled = unsettled or panel.settled[t] == 0
    return unsettled


@register_jitable
def stage(weights, mask, problem, pieces, used, panel, level, waiting, shape, signed):
    """Solve the panel's pieces; those still open join this stage's queue."""
    for slot in range(used, shape.pieces):
        copy_piece(pieces, used - 1, slot, shape)
    shift = problem.shifts[level]
    if level == 0:
        read_first(weights, problem, pieces, panel, shape, signed)
    else:
        read_zoomed(weights, problem, pieces, panel, shift, shape, signed)
    solve_panel(
        weights, mask, problem, pieces, panel, problem.rounds[level], level > 0, shape
    )
    write_masks(mask, problem.stride, pieces, used, panel, shape)
    for slot in range(used):
        unsettled = is_open(panel, slot, shape)
        if unsettled or pieces.tabled[slot]:
            if level == 0:
                start_base(pieces, slot, problem.center << FIRST_SHIFT, shape)
            move_base(pieces, slot, panel, shift, shape)
            if unsettled or not is_clear(weights, problem, pieces, slot, shift, shape, signed):
                target = (1 + 2 * level) * shape.pieces + waiting[level]
                copy_piece(pieces, slot, target, shape)
                waiting[level] += 1


@register_jitable
def take(pieces, level, waiting, shape):
    """Move pieces from the end of a queue into the panel; returns how many."""
    used = min(shape.pieces, waiting[level])
    waiting[level] -= used
    for slot in range(used):
        source = (1 + 2 * level) * shape.pieces + waiting[level] + slot
        copy_piece(pieces, source, slot, shape)
    return used


@register_jitable
def advance(place, grid, problem, shape):
    """The place after (matrix, row, column), where the next piece begins."""
    _, rows, columns = grid
    matrix, row, column = place
    column += shape.m * shape.tiles
    if column >= columns:
        column = 0
        row += shape.m
        if row >= rows:
            row = 0
            matrix += 1
    return matrix, row, column


@register_jitable
def position_of(place, grid, problem, shape):
    """Where a piece lies in the array; the last one of a row may overlap the one before it."""
    matrix, row, column = place
    return matrix * grid[0] + row * problem.stride + min(column, grid[2] - shape.m * shape.tiles)


@register_jitable
def next_pieces(weights, grid, problem, pieces, place, done, total, shape):
    """Take the next pieces of the matrices into the panel; how many, or -1 if not finite."""
    used = min(shape.pieces, total - done)
    for slot in range(used):
        pieces.position[slot] = position_of(place, grid, problem, shape)
        place = advance(place, grid, problem, shape)
        if not scan(weights, problem, pieces, slot, shape):
            return -1, place
    ahead = place
    for slot in range(min(shape.pieces, total - done - used)):
        pieces.ahead[slot] = position_of(ahead, grid, problem, shape)
        ahead = advance(ahead, grid, problem, shape)
    return used, place


@register_jitable
def put_left(pieces, slot, problem, left, start, count, shape):
    """Note a piece for the scalar road, its column potentials in the scores' units."""
    left[count] = pieces.position[slot]
    unit = 2.0 ** (pieces.exponent[slot] - problem.fixed_bits)
    for j in range(shape.m * shape.tiles):
        start[count, j] = pieces.v[slot * shape.halves * ROW + j] * unit


@compile_kernel(nrt=False)
def solve_lanes(
    weights, mask, grid, total, problem, pieces, panel, waiting, shape, signed, left, start
):  # fmt: skip
    """Masks of all full tiles of a stack of matrices.

    Parameters
    ----------
    weights : (N,) array of float16, uint16 (bfloat16), float32 or float64
    mask : (N,) array of uint8, written
    grid : (entries from a matrix to the next, rows and columns of full tiles in each)
    total : pieces in all matrices
    problem, pieces, panel : working memory
    waiting : (STAGES,) int64, zeros
    shape : TileShape
    signed : None if the scores are magnitudes
    left : int64, filled with the positions of pieces that are still open
    start : float64, filled with their column potentials

    Returns
    -------
    How many pieces are left; -1 if some weight is not finite.
    """
    capacity = shape.pieces
    done, count = 0, 0
    place = (0, 0, 0)
    while True:
        if waiting[1] >= capacity or (done == total and waiting[0] == 0 and waiting[1]):
            level, used = 2, take(pieces, 1, waiting, shape)
        elif waiting[0] >= capacity or (done == total and waiting[0]):
            level, used = 1, take(pieces, 0, waiting, shape)
        elif done < total:
            level = 0
            used, place = next_pieces(
                weights, grid, problem, pieces, place, done, total, shape
            )
            if used < 0:
                return -1
            done += used
        else:
            return count
        stage(weights, mask, problem, pieces, used, panel, level, waiting, shape, signed)
        for k in range(waiting[2]):
            put_left(pieces, 5 * capacity + k, problem, left, start, count, shape)
            count += 1
        waiting[2] = 0
