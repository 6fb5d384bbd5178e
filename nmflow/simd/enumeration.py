"""The best mask of a 4 x 4 tile among all there are, and the next best, lane by lane.

The upper two rows and the lower two are looked at apart: of all the ways in which two rows can
serve the four columns, each *profile* (how many entries of each column) has a best one; a mask is
a profile above and what it lacks below. For 2:4 that is 90 masks by 19 profiles.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nmflow.simd.emit import I32, by_registers, call, constant, suffix
from nmflow.simd.vectors import Vector, address

SIDE = 4


class _Best(NamedTuple):
    """Of some ways: the largest sum, the next (None if there is but one), and the best's bits."""

    first: Any
    second: Any
    bits: Any


class _Search:
    """Emits the comparisons, of unsigned sums."""

    def __init__(self, builder: Any, kind: Any) -> None:
        self._builder, self._kind = builder, kind

    def _pair(self, name: str, x: Any, y: Any) -> Any:
        return call(self._builder, f"llvm.{name}.{suffix(self._kind)}", self._kind, [x, y])

    def _largest(self, *values: Any) -> Any:
        known = [value for value in values if value is not None]
        return functools.reduce(functools.partial(self._pair, "umax"), known) if known else None

    def better(self, one: _Best, other: _Best) -> _Best:
        """Of both together."""
        behind = self._pair("umin", one.first, other.first)
        above = self._builder.icmp_unsigned(">", one.first, other.first)
        return _Best(
            self._pair("umax", one.first, other.first),
            self._largest(behind, one.second, other.second),
            self._builder.select(above, one.bits, other.bits),
        )

    def joined(self, above: _Best, below: _Best) -> _Best:
        """Of all pairs, one above and one below; sums are halved, rounded up."""
        return _Best(
            self._mean(above.first, below.first),
            self._largest(
                self._mean(above.second, below.first), self._mean(above.first, below.second)
            ),
            self._builder.or_(above.bits, below.bits),
        )

    def _mean(self, x: Any, y: Any) -> Any:
        if x is None or y is None:
            return None
        wide = ir.VectorType(I32, self._kind.count)
        total = self._builder.add(self._builder.zext(x, wide), self._builder.zext(y, wide))
        half = self._builder.lshr(self._builder.add(total, constant(wide, 1)), constant(wide, 1))
        return self._builder.trunc(half, self._kind)

    def sums(self, row: list[Any], n: int) -> dict[Any, Any]:
        """The sum of each choice of n entries of a row."""
        choices = itertools.combinations(range(SIDE), n)
        return {c: functools.reduce(self._builder.add, [row[j] for j in c]) for c in choices}

    def best_way(self, sums: list[dict[Any, Any]], ways: list[Any], first: int) -> _Best:
        """Of ways to choose from two rows, whose bits are those of the rows from ``first``."""
        found = []
        for upper, lower in ways:
            bits = sum(1 << SIDE * first + j for j in upper)
            bits += sum(1 << SIDE * (first + 1) + j for j in lower)
            total = self._builder.add(sums[first][upper], sums[first + 1][lower])
            found.append(_Best(total, None, constant(self._kind, bits - (bits >> 15 << 16))))
        return functools.reduce(self.better, found)


def _halves(n: int) -> Iterator[tuple[list[Any], list[Any]]]:
    """For each profile the ways to have it in two rows, and to have what it lacks."""
    choices = list(itertools.combinations(range(SIDE), n))
    ways = defaultdict(list)
    for way in itertools.product(choices, choices):
        ways[tuple(sum(j in row for row in way) for j in range(SIDE))].append(way)
    for profile, above in ways.items():
        lacking = tuple(n - count for count in profile)
        if lacking in ways:
            yield above, ways[lacking]


@intrinsic
def best_of_four(typingctx, lanes, zero, shape):
    """The largest sum of any mask, the next largest, and the mask: four bits to a row.

    A score x counts as a quarter of (x - zero), which must be 0 at least and below 2**15; for
    n = 3 the sums are of what is pruned, and the larger the smaller those scores are. Entries are
    halved rounding down, and sums rounding up.
    """
    vector = Vector(lanes.dtype)
    n, pruned = min(shape.n, SIDE - shape.n), shape.n > SIDE // 2

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(vector)

        def place(i: int, j: int) -> Any:
            index = context.get_value_type(types.intp)((i * (SIDE + 1) + j) * vector.lanes)
            return address(context, builder, lanes, [args[0], index], vector)

        places = [[place(i, j) for j in range(SIDE)] for i in range(SIDE)]

        def emit(part: Any, load: Any) -> _Best:
            single = builder.insert_element(ir.Constant(part, ir.Undefined), args[1], I32(0))
            zeros = constant(ir.VectorType(I32, part.count), 0)
            zero = builder.shuffle_vector(single, single, zeros)

            def score(pointer: Any) -> Any:
                half = builder.lshr(builder.sub(load(pointer), zero), constant(part, 1))
                return builder.sub(constant(part, (1 << 14) - 1), half) if pruned else half

            search = _Search(builder, part)
            sums = [search.sums([score(p) for p in row], n) for row in places]
            best = functools.reduce(
                search.better,
                (
                    search.joined(search.best_way(sums, above, 0), search.best_way(sums, below, 2))
                    for above, below in _halves(n)
                ),
            )
            return best._replace(bits=builder.not_(best.bits)) if pruned else best

        found = by_registers(context, builder, kind, emit)
        return context.make_tuple(builder, types.UniTuple(vector, 3), found)

    return types.UniTuple(vector, 3)(lanes, types.int16, shape), codegen
