"""The lane engine of ``flow``: 32 tiles side by side in vectors of 16-bit integers.

Panels of 32 tiles are read from the matrix, solved by dual ascent and written as masks. Pieces that
hold a tile which stays open wait in a queue until they fill a panel; the next stage looks at the
same scores through a finer window around the potentials found so far. Pieces where ties are likely
do not wait: their open tiles are solved one by one (:mod:`nmflow.methods.flow.simd_engine.single_tile`), as
are the last few, to which no others will come. What is still open then goes to the scalar road,
which starts from those potentials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, inlined
from nmflow.methods.flow.simd_engine.cursor import advance, next_pieces, note_ahead
from nmflow.methods.flow.simd_engine.enumeration import enumerates
from nmflow.methods.flow.simd_engine.queue import sort_out, take
from nmflow.methods.flow.simd_engine.read import read_first, read_zoomed
from nmflow.methods.flow.simd_engine.single_tile import are_few, finish_open
from nmflow.methods.flow.simd_engine.strips import copy_piece, start_base
from nmflow.methods.flow.simd_engine.tile_batch import (
    all_settled,
    exclude,
    solve_fresh,
    solve_panel,
    write_masks,
)
from nmflow.methods.flow.simd_engine.warm_start import recall

PANELS = 2
"""How far ahead panels of 4 x 4 tiles are fetched, which are done sooner than memory answers."""


class Problem(NamedTuple):
    """How scores are read, and how long each stage ascends."""

    stride: int
    tables: NDArray[np.int32]
    table_bits: int
    fixed_bits: int
    center: int
    shifts: NDArray[np.int64]
    rounds: NDArray[np.int64]
    shares: NDArray[np.int64]


@inlined
def mostly_tabled(pieces, used):
    """Whether half the pieces have tables below all their digits."""
    count = 0
    for slot in range(used):
        count += pieces.tabled[slot]
    return 2 * count >= used


@inlined
def begin_fresh(weights, problem, pieces, panel, shows, shape, signed):
    """Read a panel from the matrices, with the tables of its pieces if it shows them."""
    if shows:
        read_first(weights, problem, problem.tables, pieces, panel, shape, signed)
    else:
        read_first(weights, problem, None, pieces, panel, shape, signed)


@inlined
def begin_queued(weights, problem, pieces, panel, queue, used, memory, shape, signed):
    """Fill the panel from the queue and read it; how long the queue and the panel are."""
    for slot in range(used):
        if memory is not None and memory.warm[pieces.ordinal[slot]]:
            recall(pieces, slot, memory, problem, shape)
        else:
            start_base(pieces, slot, problem, shape)
    queue, used = take(pieces, queue, used, shape)
    for slot in range(used, shape.pieces):
        copy_piece(pieces, used - 1, slot, shape)
    read_zoomed(weights, problem, pieces, panel, shape, signed)
    return queue, used


@inlined
def remembers(memory, pieces):
    """Whether the panel's first piece was solved before; most likely all were, or none."""
    return memory is not None and memory.warm[pieces.ordinal[0]]


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
    # Whether the next panel shows tables: the first one tries, the others follow the one before.
    shows = memory is None
    place = ahead = (0, 0, 0)
    lead = shape.pieces * (PANELS if enumerates(shape) else 1)
    for _ in range(lead):
        ahead = advance(ahead, grid, shape)
    while rest or queue:
        used = 0
        if queue < shape.pieces and rest:
            before = rest
            used, place, rest = next_pieces(
                weights, grid, problem, pieces, place, total, rest, shows, memory, shape, signed
            )
            if used < 0:
                return -1
            if memory is None:
                ahead = note_ahead(grid, problem, pieces, ahead, before - lead, shape)
            elif used == 0 and queue == 0:
                continue
        warm = used == shape.pieces and remembers(memory, pieces)
        fresh = used == shape.pieces and not warm
        panel.u[:] = 0
        panel.v[:] = 0
        if fresh:
            begin_fresh(weights, problem, pieces, panel, shows, shape, signed)
            shows = shows and mostly_tabled(pieces, used)
            rounds = problem.rounds[2] if shows else problem.rounds[0]
        else:
            queue, used = begin_queued(
                weights, problem, pieces, panel, queue, used, memory, shape, signed
            )
            rounds = problem.rounds[3] if warm else problem.rounds[1]
        if fresh and enumerates(shape):
            solve_fresh(weights, mask, problem, pieces, panel, shape)
        else:
            tied = fresh and shows
            solve_panel(weights, mask, problem, pieces, panel, tied, rounds, memory, shape)
        # True of most panels of small tiles, and sooner seen for all their pieces than for each.
        if fresh and memory is None and not shows and all_settled(panel):
            write_masks(mask, problem.stride, pieces, used, panel, shape)
            continue
        exclude(panel, fresh, shape)
        few = rest == 0 and queue == 0 and are_few(panel, fresh, shape)
        finish_open(weights, problem, pieces, used, fresh, few, panel, memory, shape, signed)
        if memory is None:
            write_masks(mask, problem.stride, pieces, used, panel, shape)
        queue, count = sort_out(
            weights, mask, problem, pieces, used, fresh, panel, queue, left, start, count, shape,
            signed, memory,
        )  # fmt: skip
        if fresh:
            shows = mostly_tabled(pieces, used)
    return count
