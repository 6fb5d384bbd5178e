"""Choosing the better of two in every lane: instructions on vectors of one register."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from numba.core import cgutils

from nmflow.simd.llvm import I1, call, constant, suffix


class Best(NamedTuple):
    """The best of some masks.

    Attributes
    ----------
    value : its sum of scores
    other : the largest sum of another mask that was compared with it; None if none was
    lead : how far it is ahead of those that were not compared, in units of a score
    bits : the entries that it keeps, bit 4 i + j for row i and column j
    """

    value: Any
    other: Any
    lead: Any
    bits: Any


class Lanes:
    """Emits instructions on vectors of one register; numbers have no sign unless it says so."""

    def __init__(self, builder: Any, kind: Any) -> None:
        self._builder, self._kind = builder, kind
        self.width = kind.element.width
        self.add, self.sub = builder.add, builder.sub
        self.xor, self.both, self.either = builder.xor, builder.and_, builder.or_
        self.flipped = builder.not_

    def number(self, value: int) -> Any:
        """A constant in every lane, cut to the lane's bits."""
        return constant(self._kind, value - (value >> self.width - 1 << self.width))

    def most(self, x: Any, y: Any) -> Any:
        """The larger."""
        return call(self._builder, f"llvm.umax.{suffix(self._kind)}", self._kind, [x, y])

    def least(self, x: Any, y: Any) -> Any:
        """The smaller."""
        return call(self._builder, f"llvm.umin.{suffix(self._kind)}", self._kind, [x, y])

    def upper(self, x: Any, y: Any) -> Any:
        """The larger of two numbers with signs."""
        return call(self._builder, f"llvm.smax.{suffix(self._kind)}", self._kind, [x, y])

    def lower(self, x: Any, y: Any) -> Any:
        """The smaller of two numbers with signs."""
        return call(self._builder, f"llvm.smin.{suffix(self._kind)}", self._kind, [x, y])

    def where_less(self, smaller: Any, larger: Any, x: Any, y: Any) -> Any:
        """Return x where the first number, with its sign, is less than the second, else y."""
        return self._builder.select(self._builder.icmp_signed("<", smaller, larger), x, y)

    def distance(self, difference: Any) -> Any:
        """The absolute value."""
        return call(
            self._builder, f"llvm.abs.{suffix(self._kind)}", self._kind, [difference, I1(0)]
        )

    def sign(self, x: Any) -> Any:
        """All bits where x is negative."""
        return self._builder.ashr(x, self.number(self.width - 1))

    def half(self, x: Any) -> Any:
        """Half of an unsigned number, rounded down."""
        return self.moved_down(x, 1)

    def moved_down(self, x: Any, by: int) -> Any:
        """An unsigned number over 2**by, rounded down."""
        return self._builder.lshr(x, self.number(by))

    def moved_up(self, x: Any, by: int) -> Any:
        """2**by times a number."""
        return self._builder.shl(x, self.number(by))

    def where_equal(self, x: Any, y: Any) -> Any:
        """All bits where two numbers are equal."""
        return self._builder.sext(self._builder.icmp_signed("==", x, y), self._kind)

    def less_one_where(self, bits: Any, bit: int, x: Any) -> Any:
        """One less than x where that bit is set, else x."""
        marked = self._builder.icmp_signed("!=", self.both(bits, self.number(bit)), self.number(0))
        return self._builder.select(marked, self.sub(x, self.number(1)), x)

    def unless_all(self, mask: Any, compute: Any, instead: list[int]) -> list[Any]:
        """What a function returns; or numbers, without computing it, where all bits are set."""
        memory = [cgutils.alloca_once(self._builder, self._kind) for _ in instead]
        for place, value in zip(memory, instead, strict=True):
            self._builder.store(self.number(value), place)
        name = f"llvm.vector.reduce.and.{suffix(self._kind)}"
        every = call(self._builder, name, self._kind.element, [mask])
        some = self._builder.icmp_signed("!=", every, self._kind.element(-1))
        with self._builder.if_then(some):
            for place, value in zip(memory, compute(), strict=True):
                self._builder.store(value, place)
        return [self._builder.load(place) for place in memory]

    def ones_count(self, x: Any) -> Any:
        """How many bits are set."""
        return call(self._builder, f"llvm.ctpop.{suffix(self._kind)}", self._kind, [x])

    def choose(self, larger: Any, smaller: Any, x: Any, y: Any) -> Any:
        """Return x where the first number is larger than the second, else y."""
        return self._builder.select(self._builder.icmp_unsigned(">", larger, smaller), x, y)

    def better(self, one: Best, new: Best) -> Best:
        """The better of two sets of masks, as one set."""
        behind = self.least(one.value, new.value)
        return Best(
            self.most(one.value, new.value),
            behind if one.other is None else self.most(one.other, behind),
            self.choose(new.value, one.value, new.lead, one.lead),
            self.choose(new.value, one.value, new.bits, one.bits),
        )

    def together(self, one: Best, two: Best) -> Best:
        """The best of each of two independent choices."""
        return Best(
            self.add(one.value, two.value),
            None,
            self.least(one.lead, two.lead),
            self.xor(one.bits, two.bits),
        )

    def best(self, candidates: Iterator[Best]) -> Best:
        """The best of all candidates, of which each is used up before the next is made."""
        found = next(candidates)
        for candidate in candidates:
            found = self.better(found, candidate)
        return found
