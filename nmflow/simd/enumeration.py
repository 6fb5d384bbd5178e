"""The best mask of a 4 x 4 tile among all there are, and its lead over all others, lane by lane.

The upper two rows and the lower two are looked at apart. Where both rows share a pair of columns,
each row keeps one of the two, and there are two ways to do so. The 24 masks of 1:4 are six choices
of a pair for the upper rows, with two such decisions each. The 90 of 2:4 follow from differences
of scores alone: see :func:`balanced`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nmflow.simd.choices import Best, Lanes
from nmflow.simd.llvm import I32, by_registers, constant
from nmflow.simd.tile_shape import ROW
from nmflow.simd.vectors import Vector, address

SIDE = 4
DROPPED = 2
"""How many low bits of 15 are left out, so that twice the sum of eight scores fits 16 bits."""

Pair = tuple[int, int]
PAIRINGS: tuple[tuple[Pair, Pair], ...] = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
"""Four columns as two pairs."""


def entry_bits(rows: Iterable[int], columns: Iterable[int]) -> int:
    """The bits of all entries of some rows that lie in some columns."""
    columns = tuple(columns)
    return sum(1 << SIDE * i + j for i in rows for j in columns)


def _matching(lanes: Lanes, rows: list[list[Any]]) -> tuple[Any, Any]:
    """The lead and the bits of the largest sum of four entries, one in each row and column."""
    # Sums of two become positive numbers: with their sign these have two bits less than a lane.
    bias = lanes.number(1 << lanes.width - 2)
    rows = [[lanes.add(x, bias) for x in row] if i % 2 else row for i, row in enumerate(rows)]

    def decide(first: int, k: int, j: int) -> Best:
        """Which of two rows has column k, and which j."""
        one, other = (
            Best(
                lanes.add(rows[first][x], rows[first + 1][y]),
                other=None,
                lead=None,
                bits=lanes.number(entry_bits([first], [x]) | entry_bits([first + 1], [y])),
            )
            for x, y in ((k, j), (j, k))
        )
        best = lanes.most(one.value, other.value)
        lead = lanes.sub(best, lanes.least(one.value, other.value))
        bits = lanes.choose(other.value, one.value, other.bits, one.bits)
        return Best(best, None, lead, bits)

    def candidates() -> Iterator[Best]:
        for pairing in PAIRINGS:
            for above, below in (pairing, pairing[::-1]):
                yield lanes.together(decide(0, *above), decide(2, *below))

    found = lanes.best(candidates())
    return lanes.least(found.lead, lanes.sub(found.value, found.other)), found.bits


class _Halves:
    """Which two of four numbers are the largest, and by how much.

    Of the three ways to pair the four, the one that has the two largest together has the least
    sum of distances; both others have what the two largest exceed the two smallest by.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._seen: tuple[Any, Any] | None = None

    def see(self, total: Any) -> None:
        """Take up one pairing, its sum of distances."""
        most, least = self._seen or (total, total)
        self._seen = self._lanes.most(most, total), self._lanes.least(least, total)

    def best(self, numbers: list[Any], here: list[int], there: list[int]) -> Best:
        """The best mask and its lead; the columns of the largest are kept ``here``, others there.

        The next best exchanges the middle two numbers, for half of what the least sum lacks.
        """
        assert self._seen is not None
        lanes, (most, least) = self._lanes, self._seen
        pairs = (0, 1), (2, 3)
        first, second = ([numbers[j] for j in pair] for pair in pairs)
        bits = lanes.number(entry_bits(here, (0, 2)) | entry_bits(there, (1, 3)))
        rows = [*here, *there]
        for pair, (x, y) in zip(pairs, (first, second), strict=True):
            exchange = lanes.number(entry_bits(rows, pair))
            bits = lanes.xor(bits, lanes.both(lanes.sign(lanes.sub(x, y)), exchange))
        # One of each pair, or both of one whose smaller exceeds the larger of the other.
        for (largest, others), pair in zip(((first, second), (second, first)), pairs, strict=True):
            rest = [j for j in range(SIDE) if j not in pair]
            whole = lanes.number(entry_bits(here, pair) | entry_bits(there, rest))
            bits = lanes.where_less(lanes.upper(*others), lanes.lower(*largest), whole, bits)
        return Best(most, None, lanes.half(lanes.sub(most, least)), bits)


class _Differences(NamedTuple):
    """By column: row 0 less row 1, row 2 less row 3, and the sum of 0 and 1 less that of 2, 3."""

    upper: list[Any]
    lower: list[Any]
    sums: list[Any]

    @classmethod
    def of(cls, lanes: Lanes, rows: list[list[Any]]) -> _Differences:
        def each(operation: Any, *pair: list[Any]) -> list[Any]:
            return [operation(x, y) for x, y in zip(*pair, strict=True)]

        above, below = each(lanes.add, *rows[:2]), each(lanes.add, *rows[2:])
        upper, lower = each(lanes.sub, *rows[:2]), each(lanes.sub, *rows[2:])
        return cls(upper, lower, each(lanes.sub, above, below))


def _mixed(lanes: Lanes, given: _Differences, shared: Pair, owned: Pair) -> tuple[Best, list[Any]]:
    """The best mask whose columns ``shared`` have one entry above, and ``owned`` two or none.

    Also returns the three distances that it consists of.
    """
    (k, j), (i, h) = shared, owned
    moves = [
        lanes.sub(given.upper[k], given.upper[j]),
        lanes.sub(given.lower[k], given.lower[j]),
        lanes.sub(given.sums[i], given.sums[h]),
    ]
    distances = [lanes.distance(move) for move in moves]
    # With no difference negative; each that is exchanges its two columns in its rows.
    bits = lanes.number(
        entry_bits([0, 2], [k])
        | entry_bits([1, 3], [j])
        | entry_bits([0, 1], [i])
        | entry_bits([2, 3], [h])
    )
    exchanged = (
        entry_bits([0, 1], shared),
        entry_bits([2, 3], shared),
        entry_bits(range(SIDE), owned),
    )
    for move, those in zip(moves, exchanged, strict=True):
        bits = lanes.xor(bits, lanes.both(lanes.sign(move), lanes.number(those)))
    value = functools.reduce(lanes.add, distances)
    return Best(value, None, functools.reduce(lanes.least, distances), bits), distances


def balanced(lanes: Lanes, rows: list[list[Any]]) -> Best:
    """The best mask that holds two entries in each row and column.

    Its value is the sum of what it keeps less that of what it prunes; its lead is one of sums. Let
    d be the differences of the upper two rows, d' of the lower two, and e of the sums of the upper
    and the lower. The value is at best

    - |d_k - d_l| + |d'_k - d'_l| + |e_i - e_j| where the columns k and l have one entry above and
      one below, and of i and j one has both entries above and the other both below;
    - the two largest of e less the two smallest, where each column has both on one side;
    - the same of d and of d' together, where each column has one above and one below.

    Everything is a sum of distances between two columns.
    """
    given = _Differences.of(lanes, rows)
    # Of which numbers the two largest are sought, in which rows those columns are kept, and in
    # which the others.
    searches = (
        (_Halves(lanes), [0], [1]),
        (_Halves(lanes), [2], [3]),
        (_Halves(lanes), [0, 1], [2, 3]),
    )

    def candidates() -> Iterator[Best]:
        for pair, rest in PAIRINGS:
            one, distances = _mixed(lanes, given, pair, rest)
            yield one
            other, more = _mixed(lanes, given, rest, pair)
            yield other
            # The third distances are of the pair that is owned, and in the sum that's no matter.
            totals = [lanes.add(x, y) for x, y in zip(distances, more, strict=True)]
            for (halves, *_), total in zip(searches, totals, strict=True):
                halves.see(total)

    found = lanes.best(candidates())
    upper, lower, sums = (
        halves.best(numbers, here, there)
        for (halves, here, there), numbers in zip(searches, given, strict=True)
    )
    found = lanes.better(lanes.better(found, lanes.together(upper, lower)), sums)
    return found._replace(
        lead=lanes.least(found.lead, lanes.half(lanes.sub(found.value, found.other)))
    )


def _best_mask(builder: Any, rows: list[list[Any]], n: int) -> tuple[Any, Any]:
    """The lead and the bits of the largest sum of entries, n in each row and column.

    Scores have three bits less than a lane, with their sign. For n = 3 the sums are of what is
    pruned.
    """
    lanes = Lanes(builder, rows[0][0].type)
    if n == SIDE // 2:
        best = balanced(lanes, rows)
        return best.lead, best.bits
    if n < SIDE // 2:
        return _matching(lanes, rows)
    lead, bits = _matching(lanes, [[builder.not_(x) for x in row] for row in rows])
    return lead, builder.not_(bits)


def lane_places(context: Any, builder: Any, kind: Any, lanes: Any) -> list[list[Any]]:
    """Pointers to the vectors of entry i, j of all tiles, as :func:`best_of_four` takes them."""
    vector = Vector(kind.dtype)

    def place(i: int, j: int) -> Any:
        index = context.get_value_type(types.intp)((i * (SIDE + 1) + j) * vector.lanes)
        return address(context, builder, kind, [lanes, index], vector)

    return [[place(i, j) for j in range(SIDE)] for i in range(SIDE)]


@intrinsic
def best_of_four(typingctx, lanes, shape):
    """How far the best mask of each tile is ahead of all others, and its bits, four to a row.

    The scores are 15 bits with their sign, or moved up or down by any number; the lead is in units
    of 2**DROPPED of them, which are rounded down.

    Parameters
    ----------
    lanes : (4 * 5 * 32,) int16
        Entry i, j of all tiles at (5 * i + j) * 32.
    """
    vector = Vector(lanes.dtype)

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(vector)
        places = lane_places(context, builder, lanes, args[0])

        def emit(part: Any, load: Any) -> tuple[Any, Any]:
            def score(pointer: Any) -> Any:
                return builder.ashr(load(pointer), constant(part, DROPPED))

            return _best_mask(builder, [[score(p) for p in row] for row in places], shape.n)

        found = by_registers(context, builder, kind, emit)
        return context.make_tuple(builder, types.UniTuple(vector, 2), found)

    return types.UniTuple(vector, 2)(lanes, shape), codegen


def strip_rows(context: Any, builder: Any, kind: Any, array: Any) -> list[list[Any]]:
    """The entries of four tiles side by side in an array of 4 x 16, one tile a lane."""
    whole = Vector(kind.dtype, ROW)

    def row(i: int) -> list[Any]:
        index = context.get_value_type(types.intp)(i * ROW)
        entries = builder.load(address(context, builder, kind, [array, index], whole), align=64)
        masks = (list(range(j, ROW, SIDE)) for j in range(SIDE))
        lanes = ir.VectorType(I32, ROW // SIDE)
        return [builder.shuffle_vector(entries, entries, ir.Constant(lanes, m)) for m in masks]

    return [row(i) for i in range(SIDE)]


@intrinsic
def best_of_strip(typingctx, array, shape):
    """As :func:`best_of_four`, but exact, of four tiles side by side in an array of 4 x 16.

    The scores are 29 bits with their sign, or moved up or down by any number; the lead is in
    their units, and where there is none the bits mean nothing.
    """
    vector = Vector(array.dtype, ROW // SIDE)

    def codegen(context, builder, signature, args):
        found = _best_mask(builder, strip_rows(context, builder, array, args[0]), shape.n)
        return context.make_tuple(builder, types.UniTuple(vector, 2), found)

    return types.UniTuple(vector, 2)(array, shape), codegen
