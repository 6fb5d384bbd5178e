"""The lane engine of ``flow``: 32 tiles side by side in vectors of 16-bit integers.

Panels of 32 tiles are read from the matrix, solved by dual ascent and written as masks. Pieces
that hold a tile which stays open wait in a queue until they fill a panel; the next stage looks at
the same scores through a finer window around the potentials found so far. What the last stage
leaves open goes to the scalar road, which starts from those potentials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import overload, register_jitable
from numpy.typing import NDArray

from nmflow.kernels.jit import compile_kernel
from nmflow.kernels.lanes_ascent import ascend, threshold, within_limits
from nmflow.kernels.lanes_augmentation import balance, finish
from nmflow.kernels.lanes_enumeration import enumerate_masks
from nmflow.kernels.lanes_memory import (
    compare,
    is_changed,
    own_tiles,
    recall,
    remember,
    write_changes,
)
from nmflow.kernels.lanes_pieces import (
    aligned,
    copy_piece,
    move_base,
    start_base,
)
from nmflow.kernels.lanes_read import (
    BOTH,
    FIRST,
    FIRST_SHIFT,
    SECOND,
    choose_tables,
    is_clear,
    read_first,
    read_zoomed,
    scan,
)
from nmflow.kernels.lanes_units import Augmentation, new_augmentation
from nmflow.simd.enumeration import SIDE
from nmflow.simd.layout import prefetch, store_bits, store_mask
from nmflow.simd.static import LANES, ROW, TileShape
from nmflow.simd.vectors import load, store

PANELS = 2
"""How far ahead panels of 4 x 4 tiles are fetched, which are done sooner than memory answers."""

TABLE_ROOM = 3
"""Bits below a table that stands alone."""

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
    work: Augmentation


class Problem(NamedTuple):
    """How scores are read, and how long each stage ascends."""

    stride: int
    tables: NDArray[np.int32]
    more_tables: NDArray[np.int32]
    table_bits: int
    fixed_bits: int
    center: int
    least: int
    shifts: NDArray[np.int64]
    rounds: NDArray[np.int64]


def new_panel(shape: TileShape) -> Panel:
    """Working memory, and the bit that stands for each column in each lane."""
    m = shape.m
    bits = aligned(m * LANES, np.int16)
    column, lane = np.arange(m)[:, None], np.arange(LANES)
    bits[:] = (1 << (column % ROW + lane % shape.tiles * m)).astype(np.int16).ravel()
    return Panel(
        lanes=aligned((m + 1) * m * LANES, np.int16),
        packed=aligned(LANES * ROW, np.int16),
        u=aligned(m * LANES, np.int16),
        v=aligned(m * LANES, np.int16),
        bits=bits,
        words=aligned(m * shape.halves * LANES, np.int16),
        settled=aligned(LANES, np.int16),
        work=new_augmentation(shape),
    )


@register_jitable(forceinline=True)
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


@register_jitable(forceinline=True)
def fetch(weights, mask, problem, place, with_mask, shape):
    """Bring a piece nearer, and its line of the mask, which it shares with three others."""
    for i in range(shape.m):
        for half in range(shape.halves):
            prefetch(weights, place + i * problem.stride + half * ROW, 0, shape)
        if with_mask:
            prefetch(mask, place + i * problem.stride, 1, shape)


@register_jitable(forceinline=True)
def solve_panel(weights, mask, problem, pieces, panel, rounds, shape):
    """Ascend, and see what is settled; meanwhile fetch the next panel."""
    slot = 0
    for k in range(1, rounds + 1):
        while slot < pieces.fetched[0] * k // rounds:
            fetch(weights, mask, problem, pieces.ahead[slot], slot % 4 == 0, shape)
            slot += 1
        ascend(panel.lanes, panel.u, panel.v, shape)
    pieces.fetched[0] = 0
    settled = threshold(panel.lanes, panel.u, panel.v, panel.bits, panel.words, shape)
    store(panel.settled, 0, settled)


@register_jitable(forceinline=True)
def enumerate_panel(weights, mask, problem, pieces, panel, rounds, shape):
    """Look at all masks of tiles of 4 x 4; fetch the next panel."""
    for slot in range(pieces.fetched[0]):
        fetch(weights, mask, problem, pieces.ahead[slot], slot % 4 == 0, shape)
    pieces.fetched[0] = 0
    zero = np.int16(problem.least)
    settled = enumerate_masks(panel.lanes, zero, panel.bits, panel.words, shape)
    store(panel.settled, 0, settled)


def solve_fresh(weights, mask, problem, pieces, panel, rounds, shape):
    """Solve a panel from the matrix: see :func:`enumerate_panel` and :func:`solve_panel`."""


@overload(solve_fresh)
def _choose_first_stage(weights, mask, problem, pieces, panel, rounds, shape):
    return enumerate_panel if shape.m == SIDE else solve_panel


@register_jitable(forceinline=True)
def repair(weights, problem, pieces, used, panel, fresh, tied, shape):
    """Where ascent stalls among equal scores, augment; whether that was done."""
    stalled = 0
    for slot in range(used):
        if is_open(panel, slot, shape):
            if pieces.stage[slot] == 0 and not pieces.tabled[slot]:
                choose_tables(weights, problem, pieces, slot, True, shape)
            stalled += pieces.tabled[slot]
    # Enumeration finds no potentials; digits alone are worth it where there are many at a time.
    at_once = shape.m != SIDE if tied else shape.m > ROW and 2 * stalled >= used
    if stalled == 0 or (fresh and not at_once):
        return False
    balance(panel.lanes, panel.u, panel.v, panel.bits, panel.work, shape)
    if tied or not fresh:
        settled = load(panel.settled, 0)
        settled = finish(
            panel.lanes, panel.u, panel.v, panel.bits, panel.words, settled, panel.work, shape
        )
        store(panel.settled, 0, settled)
    return True


@register_jitable(forceinline=True)
def exclude(panel, fresh, shape):
    """Call open what saturated scores might have settled, of which the first stage has none."""
    if not fresh:
        settled = load(panel.settled, 0)
        settled = within_limits(panel.lanes, panel.u, panel.v, settled, shape)
        store(panel.settled, 0, settled)


@register_jitable(forceinline=True)
def is_open(panel, slot, shape):
    """Whether any tile of the piece is not settled."""
    unsettled = False
    for t in range(slot * shape.tiles, (slot + 1) * shape.tiles):
        unsettled = unsettled or panel.settled[t] == 0
    return unsettled


@register_jitable(forceinline=True)
def next_window(pieces, slot, problem, balanced, shape):
    """Choose what the next stage looks at; False if there is none.

    Of a tabled piece: all its digits, until they are balanced, with the first table if that is in
    sight; then the tables, one by one.
    """
    first = pieces.stage[slot] == 0
    pieces.stage[slot] += 2 if first and shape.m != SIDE and not pieces.tabled[slot] else 1
    if not pieces.tabled[slot]:
        if pieces.stage[slot] == problem.shifts.size:
            return False
        pieces.shift[slot] = problem.shifts[pieces.stage[slot]]
    elif first and not balanced:
        pieces.posed[slot] = both_in_sight(pieces, slot, problem)
    elif pieces.posed[slot] == SECOND:
        return False
    elif pieces.posed[slot] == 0 and pieces.shift[slot] > pieces.unit[slot]:
        pieces.shift[slot] = pieces.unit[slot]
    else:
        pieces.posed[slot] = FIRST if pieces.posed[slot] == 0 else SECOND
        pieces.shift[slot] = max(pieces.unit[slot] - problem.table_bits - TABLE_ROOM, 0)
    return True


@register_jitable(forceinline=True)
def both_in_sight(pieces, slot, problem):
    """BOTH if the first window shows digits and the first table, else 0."""
    return BOTH if pieces.unit[slot] - problem.table_bits >= FIRST_SHIFT else 0


@register_jitable(forceinline=True)
def sort_out(
    weights, mask, problem, pieces, used, fresh, panel, queue, left, start, count, shape, signed,
    memory, balanced,
):  # fmt: skip
    """Move pieces with open tiles to the queue, or to those left; returns both lengths."""
    for slot in range(used):
        unsettled = is_open(panel, slot, shape)
        doubtful = pieces.posed[slot] == SECOND and not pieces.exact[slot]
        if doubtful and not unsettled:
            unsettled = not is_clear(weights, problem, pieces, slot, shape, signed)
        elif unsettled:
            if pieces.stage[slot] == 0:
                start_base(pieces, slot, problem.center << FIRST_SHIFT, shape)
            move_base(pieces, slot, panel, shape)
        if not unsettled:
            if memory is not None:
                at_once = fresh and pieces.stage[slot] == 0
                if at_once:
                    memory.counters[1] += own_tiles(pieces, slot, shape)
                if not fresh or is_changed(memory, slot, shape):
                    write_changes(mask, problem.stride, pieces, slot, panel, memory, shape)
        elif not next_window(pieces, slot, problem, balanced, shape):
            if memory is not None:
                memory.left[count] = pieces.ordinal[slot]
            put_left(pieces, slot, problem, left, start, count, shape)
            count += 1
        else:
            copy_piece(pieces, slot, shape.pieces + queue, shape)
            queue += 1
    return queue, count


@register_jitable(forceinline=True)
def note_ahead(grid, problem, pieces, ahead, rest, shape):
    """Note where the pieces lie that are to be fetched; the place after them."""
    pieces.fetched[0] = max(min(shape.pieces, rest), 0)
    for slot in range(pieces.fetched[0]):
        pieces.ahead[slot] = position_of(ahead, grid, problem.stride, shape)
        ahead = advance(ahead, grid, shape)
    return ahead


@register_jitable(forceinline=True)
def exact_pieces(pieces, used):
    """How many pieces have tables below all their digits."""
    count = 0
    for slot in range(used):
        count += pieces.exact[slot]
    return count


@register_jitable(forceinline=True)
def take(pieces, queue, used, shape):
    """Fill the panel behind ``used`` pieces from the end of the queue; returns both lengths."""
    while used < shape.pieces and queue:
        queue -= 1
        copy_piece(pieces, shape.pieces + queue, used, shape)
        used += 1
    return queue, used


@register_jitable(forceinline=True)
def advance(place, grid, shape):
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


@register_jitable(forceinline=True)
def position_of(place, grid, stride, shape):
    """Where a piece lies in the array; the last one of a row may overlap the one before it."""
    matrix, row, column = place
    return matrix * grid[0] + row * stride + min(column, grid[2] - shape.m * shape.tiles)


@register_jitable(forceinline=True)
def next_pieces(weights, grid, problem, pieces, place, total, rest, tied, shape):
    """Take the next pieces of the matrices into the panel; how many, or -1 if not finite.

    If the last ones had ties, these get tables at once where all their digits fit above.
    """
    used = min(shape.pieces, rest)
    for slot in range(used):
        pieces.position[slot] = position_of(place, grid, problem.stride, shape)
        pieces.ordinal[slot] = total - rest + slot
        beyond = max(place[2] + shape.m * shape.tiles - grid[2], 0)
        pieces.own[slot] = np.int16(-1 << beyond)
        pieces.stage[slot] = 0
        pieces.shift[slot] = FIRST_SHIFT
        place = advance(place, grid, shape)
        if not scan(weights, problem, pieces, slot, shape):
            return -1, place
        if tied and choose_tables(weights, problem, pieces, slot, False, shape):
            pieces.posed[slot] = both_in_sight(pieces, slot, problem)
    return used, place


@register_jitable(forceinline=True)
def put_left(pieces, slot, problem, left, start, count, shape):
    """Note a piece for the scalar road, its column potentials in the scores' units."""
    left[count] = pieces.position[slot]
    unit = 2.0 ** (pieces.exponent[slot] - problem.fixed_bits)
    for j in range(shape.m * shape.tiles):
        start[count, j] = pieces.v[slot * shape.halves * ROW + j] * unit


@compile_kernel(nrt=False)
def solve_lanes(
    weights, mask, grid, total, problem, pieces, panel, shape, signed, left, start, memory
):  # fmt: skip
    """Masks of all full tiles of a stack of matrices.

    Parameters
    ----------
    weights : (N,) array of int16 (float16's bits), uint16 (bfloat16's), float32 or float64
    mask : (N,) array of uint8, written
    grid : (entries from a matrix to the next, rows and columns of full tiles in each)
    total : pieces in all matrices
    problem, pieces, panel : working memory
    shape : TileShape
    signed : None if the scores are magnitudes
    left : int64, filled with the positions of pieces that are still open
    start : float64, filled with their column potentials
    memory : None, or the Memory of these matrices: then only changes are written

    Returns
    -------
    How many pieces are left; -1 if some weight is not finite.
    """
    rest, queue, count = total, 0, 0
    tied = False
    place = ahead = (0, 0, 0)
    lead = shape.pieces * (PANELS if shape.m == SIDE else 1)
    for _ in range(lead):
        ahead = advance(ahead, grid, shape)
    while rest or queue:
        used = 0
        if queue < shape.pieces and rest:
            used, place = next_pieces(
                weights, grid, problem, pieces, place, total, rest, tied, shape
            )
            if used < 0:
                return -1
            ahead = note_ahead(grid, problem, pieces, ahead, rest - lead, shape)
            rest -= used
        fresh = used == shape.pieces
        rounds = problem.rounds[0 if fresh else 1]
        panel.u[:] = 0
        panel.v[:] = 0
        if fresh:
            if tied:
                for slot in range(used):
                    start_base(pieces, slot, problem.center << FIRST_SHIFT, shape)
                read_zoomed(weights, problem, pieces, panel, shape, signed)
            else:
                read_first(weights, problem, pieces, panel, shape, signed)
            if memory is not None:
                first = pieces.ordinal[0]
                rounds = recall(pieces, panel, memory, first, problem.center, shape)
        else:
            for slot in range(used):
                start_base(pieces, slot, problem.center << FIRST_SHIFT, shape)
            queue, used = take(pieces, queue, used, shape)
            for slot in range(used, shape.pieces):
                copy_piece(pieces, used - 1, slot, shape)
            read_zoomed(weights, problem, pieces, panel, shape, signed)
        if fresh:
            solve_fresh(weights, mask, problem, pieces, panel, rounds, shape)
        else:
            solve_panel(weights, mask, problem, pieces, panel, rounds, shape)
        balanced = repair(weights, problem, pieces, used, panel, fresh, tied, shape)
        exclude(panel, fresh, shape)
        if memory is None:
            write_masks(mask, problem.stride, pieces, used, panel, shape)
        elif fresh:
            compare(panel, memory, pieces.ordinal[0], shape)
        before = queue + count
        queue, count = sort_out(
            weights, mask, problem, pieces, used, fresh, panel, queue, left, start, count, shape,
            signed, memory, balanced,
        )  # fmt: skip
        if fresh:
            tied = shape.m <= ROW and 2 * exact_pieces(pieces, used) >= used
        if fresh and memory is not None:
            unsettled = queue + count - before
            remember(pieces, panel, memory, pieces.ordinal[0], unsettled, shape)
    return count
