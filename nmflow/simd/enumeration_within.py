"""The best mask of a 4 x 4 tile within what is allowed, and whether it is the only one.

Where two may be kept in each row and column, 186 masks can't be added to: the 90 that fill the
tile, and 96 of seven entries, in which one row and one column hold a single entry, which they
share. What may not be kept is worth nothing: then the best of these, less such entries, is the best
mask of what is left. As two of them may differ in such entries alone, their lead proves nothing.
The proof is a second enumeration instead: if each entry of the best mask is worth a unit less and
the mask is still the best, each other mask falls short of it by a unit for each of its entries that
it lacks, which is more than rounding can hide.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

from numba import types
from numba.extending import intrinsic

from nmflow.simd.choices import Lanes
from nmflow.simd.enumeration import (
    DROPPED,
    SIDE,
    balanced,
    entry_bits,
    lane_places,
    strip_rows,
)
from nmflow.simd.llvm import by_registers
from nmflow.simd.tile_shape import ROW
from nmflow.simd.vectors import Vector

ENUMERATED = 2, SIDE
"""The n and m of such tiles."""


class Format(NamedTuple):
    """Lanes of so many bits; of a score as it is read those that are left out, and a penalty.

    The penalty is what forbidden entries cost where a tile is to be filled.
    """

    width: int
    dropped: int
    penalty: int


NARROW = Format(16, DROPPED, (1 << 12) - 1)
"""Of 14 bits of a score. As large a penalty as fits, which nearly always decides."""
WIDE = Format(32, 4, 1 << 28)
"""Of 29 bits of a score. The penalty exceeds all that eight entries can be worth."""
ALL = range(SIDE)
Rows = list[list[Any]]
Pruned = tuple[Any, Any]
"""The sum of the entries that a mask prunes, and the bits of those that it keeps."""


def _sum(lanes: Lanes, numbers: Any) -> Any:
    return functools.reduce(lanes.add, numbers)


def _less(lanes: Lanes, one: Pruned, other: Pruned) -> Pruned:
    """Of two sums of pruned entries the smaller, with its bits."""
    bits = lanes.choose(one[0], other[0], other[1], one[1])
    return lanes.least(one[0], other[0]), bits


def _pairs_of(lanes: Lanes, rows: Rows, first: int) -> dict[tuple[int, int], Pruned]:
    """The least sum of two entries of two columns, one in each of two rows.

    Its bits are those entries, and both columns in the other two rows.
    """
    above, below = rows[first : first + 2]
    beyond = [i for i in ALL if i not in (first, first + 1)]

    def way(j: int, k: int) -> Pruned:
        bits = entry_bits([first], [j]) | entry_bits([first + 1], [k])
        return lanes.add(above[j], below[k]), lanes.number(bits | entry_bits(beyond, (j, k)))

    pairs = itertools.combinations(ALL, 2)
    return {(j, k): _less(lanes, way(j, k), way(k, j)) for j, k in pairs}


def _seven(lanes: Lanes, rows: Rows) -> Pruned:
    """The best mask of seven entries.

    One row and one column hold a single entry, which they share; each other row and each other
    column prunes one entry besides.
    """
    of_rows = [_sum(lanes, row) for row in rows]
    of_columns = [_sum(lanes, column) for column in zip(*rows, strict=True)]
    halves = _pairs_of(lanes, rows, 0), _pairs_of(lanes, rows, 2)

    def candidate(r: int, c: int) -> Pruned:
        """The best of those whose shared entry is in row r and column c."""
        beside, pairs = r ^ 1, halves[r < SIDE // 2]
        others = [j for j in ALL if j != c]

        def way(k: int) -> Pruned:
            """The row beside prunes column k, and the two rows of the other half the others."""
            j, h = (x for x in others if x != k)
            total, bits = pairs[j, h]
            return lanes.add(rows[beside][k], total), bits

        least, bits = functools.reduce(functools.partial(_less, lanes), map(way, others))
        twice = lanes.add(rows[r][c], rows[r][c])
        line = lanes.sub(lanes.add(of_rows[r], of_columns[c]), twice)
        # The row beside keeps what the two rows prune, and these what they don't.
        bits = lanes.both(bits, lanes.number(entry_bits([i for i in ALL if i != r], others)))
        kept = entry_bits([i for i in ALL if i not in (r, beside)], others) | entry_bits([r], [c])
        return lanes.add(line, least), lanes.xor(bits, lanes.number(kept))

    places = itertools.product(ALL, ALL)
    return functools.reduce(functools.partial(_less, lanes), itertools.starmap(candidate, places))


def _best(lanes: Lanes, rows: Rows, total: Any, filled: Any) -> Pruned:
    """The best mask; where lanes of ``filled`` have all bits, the best of eight entries."""
    eight = balanced(lanes, rows)
    pruned = lanes.half(lanes.sub(total, eight.value)), eight.bits
    most = (1 << lanes.width) - 1
    seven, bits = lanes.unless_all(filled, lambda: _seven(lanes, rows), [most, 0])
    return _less(lanes, pruned, (lanes.either(seven, filled), bits))


def _all_hold_two(lanes: Lanes, bits: Any) -> Any:
    """All bits where each row and each column has at least two of the 16 bits."""
    down, both = lanes.moved_down, lanes.both
    pairs = lanes.sub(bits, both(down(bits, 1), lanes.number(0x5555)))
    low = lanes.number(0x3333)
    counts = lanes.add(both(pairs, low), both(down(pairs, 2), low))
    second = lanes.number(0x2222)
    rows = both(lanes.either(counts, down(counts, 1)), second)
    two, one = both(bits, down(bits, SIDE)), lanes.either(bits, down(bits, SIDE))
    # Of rows 0 and 1 in the lowest four bits, of 2 and 3 in those from the eighth on.
    two = lanes.either(lanes.either(two, down(two, 2 * SIDE)), both(one, down(one, 2 * SIDE)))
    row = lanes.number((1 << SIDE) - 1)
    return both(lanes.where_equal(rows, second), lanes.where_equal(both(two, row), row))


def _can_be_filled(lanes: Lanes, closed: Any, forbidden: Rows) -> Any:
    """All bits where some mask of eight entries has none of the closed bits."""
    allowed = [[lanes.add(no, lanes.number(1)) for no in row] for row in forbidden]
    best = balanced(lanes, allowed).bits
    return lanes.where_equal(lanes.both(best, closed), lanes.number(0))


def _best_within(lanes: Lanes, scores: Rows, fills: Any) -> tuple[Any, Any, Any]:
    """As :func:`best_within`, or :func:`best_within_strip`, of scores without DROPPED bits."""
    narrow = lanes.width == NARROW.width
    forbidden = [[lanes.sign(score) for score in row] for row in scores]
    places = [(i, j) for i in ALL for j in ALL]
    bits = [lanes.both(forbidden[i][j], lanes.number(entry_bits([i], [j]))) for i, j in places]
    closed = functools.reduce(lanes.either, bits)
    if narrow:
        filled = lanes.both(_all_hold_two(lanes, lanes.flipped(closed)), fills)
    else:
        filled = lanes.both(_can_be_filled(lanes, closed, forbidden), fills)
    penalty = lanes.both(filled, lanes.number((NARROW if narrow else WIDE).penalty))
    one = lanes.number(1)
    # What is allowed is at most this number, and more than one less; what isn't is 0 or less.
    worth = [
        [
            lanes.sub(lanes.both(lanes.add(score, one), lanes.flipped(no)), lanes.both(no, penalty))
            for score, no in zip(*of_row, strict=True)
        ]
        for of_row in zip(scores, forbidden, strict=True)
    ]
    total = _sum(lanes, itertools.chain(*worth))
    pruned, bits = _best(lanes, worth, total, filled)
    kept = lanes.both(bits, lanes.flipped(closed))
    for i, j in places:
        worth[i][j] = lanes.less_one_where(kept, entry_bits([i], [j]), worth[i][j])
    total = lanes.sub(total, lanes.ones_count(kept))
    again, _ = _best(lanes, worth, total, filled)
    unfilled = lanes.both(filled, lanes.flipped(lanes.where_equal(kept, bits)))
    proved = lanes.both(lanes.where_equal(pruned, again), lanes.flipped(unfilled))
    return proved, kept, filled


@intrinsic
def best_within(typingctx, lanes, fills, shape):
    """The best mask of each tile of what is allowed, two in each row and column at most.

    Parameters
    ----------
    lanes : (4 * 5 * 32,) int16
        Scores of 14 bits, rounded down, or less than 0 for what is not allowed: entry i, j of all
        tiles at (5 * i + j) * 32.
    fills : bool
        Whether tiles are to be filled in which each row and column has at least two that are
        allowed.

    Returns
    -------
    tuple of three vectors of int16
        -1 where that mask is the only best one, else 0; its bits, four to a row; and -1 where the
        tile was to be filled, which is then proved only if it is.
    """
    vector = Vector(lanes.dtype)

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(vector)
        places = lane_places(context, builder, lanes, args[0])

        def emit(part: Any, load: Any) -> tuple[Any, Any, Any]:
            emitted = Lanes(builder, part)
            dropped = emitted.number(NARROW.dropped)
            rows = [[builder.ashr(load(p), dropped) for p in row] for row in places]
            chosen = builder.select(args[1], emitted.number(-1), emitted.number(0))
            return _best_within(emitted, rows, chosen)

        found = by_registers(context, builder, kind, emit)
        return context.make_tuple(builder, types.UniTuple(vector, 3), found)

    return types.UniTuple(vector, 3)(lanes, types.boolean, shape), codegen


@intrinsic
def best_within_strip(typingctx, array, fills, shape):
    """As :func:`best_within`, of 29 bits of four tiles side by side in an array of 4 x 16.

    All that can be filled is to be filled, and nothing else.
    """
    vector = Vector(array.dtype, ROW // SIDE)

    def codegen(context, builder, signature, args):
        lanes = Lanes(builder, context.get_value_type(vector))
        dropped = lanes.number(WIDE.dropped)
        rows = strip_rows(context, builder, array, args[0])
        rows = [[builder.ashr(entry, dropped) for entry in row] for row in rows]
        chosen = builder.select(args[1], lanes.number(-1), lanes.number(0))
        found = _best_within(lanes, rows, chosen)
        return context.make_tuple(builder, types.UniTuple(vector, 3), found)

    return types.UniTuple(vector, 3)(array, types.boolean, shape), codegen
