"""Selection networks: which minima and maxima find two neighbouring ranks of m values.

A network is a straight-line programme without branches, so that it can run on vectors, each lane
on its own values. What no output needs, or comes twice, is left out of a sorting network: Batcher's
odd-even merge sort, with Green's of 60 comparators for 16 values (Knuth, The Art of Computer
Programming, vol. 3, section 5.3.4). Where the ranks are far from the middle, it costs less to sort
only two halves: of the i-th of one beside the (r + 1 - i)-th of the other, the larger are the r
largest of all.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple


class Step(NamedTuple):
    """One instruction: the larger, or the smaller, of two earlier values."""

    larger: bool
    first: int
    second: int


class Network(NamedTuple):
    """Steps over the inputs 0 ... size - 1; step k writes value size + k.

    They are in an order in which few values wait for their turn.
    """

    size: int
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


_GREEN = (
    *((i, i + step) for step in (1, 2, 4, 8) for i in range(16) if not i & step),
    *((5, 10), (6, 9), (3, 12), (13, 14), (4, 8), (7, 11), (1, 2)),
    *((1, 4), (7, 13), (2, 8), (11, 14)),
    *((2, 4), (5, 6), (9, 10), (11, 13), (3, 8), (7, 12)),
    *((6, 8), (10, 12), (3, 5), (7, 9)),
    *((3, 4), (5, 6), (7, 8), (9, 10), (11, 12)),
    *((6, 7), (8, 9)),
)


class _Builder:
    """Collects steps, each but once."""

    def __init__(self, size: int, green: bool) -> None:
        self._size, self._green = size, green
        self.steps: list[Step] = []

    def emit(self, larger: bool, first: int, second: int) -> int:
        step = Step(larger, min(first, second), max(first, second))
        if step not in self.steps:
            self.steps.append(step)
        return self._size + self.steps.index(step)

    def exchange(self, first: int, second: int) -> tuple[int, int]:
        return self.emit(True, first, second), self.emit(False, first, second)

    def sort(self, values: list[int]) -> list[int]:
        """In descending order."""
        if len(values) <= 1:
            return values
        if len(values) == 16 and self._green:
            values = list(values)
            for i, j in _GREEN:
                values[i], values[j] = self.exchange(values[i], values[j])
            return values
        half = (len(values) + 1) // 2
        return self.merge(self.sort(values[:half]), self.sort(values[half:]))

    def merge(self, one: list[int], other: list[int]) -> list[int]:
        """Two descending sequences as one: the odd places, the even ones, and their neighbours."""
        if not one or not other:
            return one or other
        if len(one) == len(other) == 1:
            return list(self.exchange(one[0], other[0]))
        odd = self.merge(one[::2], other[::2])
        even = self.merge(one[1::2], other[1::2])
        pairs = [self.exchange(x, y) for x, y in zip(odd[1:], even, strict=False)]
        paired = len(pairs)
        return [odd[0], *(x for pair in pairs for x in pair), *odd[1 + paired :], *even[paired:]]

    def extreme(self, larger: bool, values: list[int]) -> int:
        """The largest of all, or the smallest."""
        return functools.reduce(functools.partial(self.emit, larger), values)


@functools.cache
def selection(size: int, rank: int, registers: int = 32) -> Network:
    """The network that finds the ``rank``-th and the next largest value, 1 <= rank < size.

    Green's sorter, which has fewer comparators, keeps more values waiting: where these don't fit
    into ``registers`` it costs more than it saves.
    """
    ways = itertools.product((_of_all, _of_halves), (False, True) if registers > 16 else (False,))
    networks = (_without_dead_steps(make(size, rank, green)) for make, green in ways)
    return min(networks, key=lambda network: len(network.steps))


def _of_all(size: int, rank: int, green: bool) -> Network:
    build = _Builder(size, green)
    ranks = build.sort(list(range(size)))
    return Network(size, tuple(build.steps), (ranks[rank - 1], ranks[rank]))


def _of_halves(size: int, rank: int, green: bool) -> Network:
    build = _Builder(size, green)
    half = (size + 1) // 2
    left, right = build.sort(list(range(half))), build.sort(list(range(half, size)))
    # Those without a partner: of the larger ones only the smallest counts, and so on.
    sides = ((left, right), (right, left))
    top = [one[rank - len(other) - 1] for one, other in sides if rank > len(other)]
    rest = [one[rank] for one, _ in sides if rank < len(one)]
    for i in range(max(1, rank + 1 - len(right)), min(rank, len(left)) + 1):
        larger, smaller = build.exchange(left[i - 1], right[rank - i])
        top = [build.extreme(False, [*top, larger])]
        rest = [build.extreme(True, [*rest, smaller])]
    outputs = build.extreme(False, top), build.extreme(True, rest)
    return Network(size, tuple(build.steps), outputs)


def _without_dead_steps(network: Network) -> Network:
    needed = set(network.outputs)
    for k in reversed(range(len(network.steps))):
        if network.size + k in needed:
            needed.update(network.steps[k][1:])
    renamed = {i: i for i in range(network.size)}
    steps: list[Step] = []
    for k, (larger, first, second) in enumerate(network.steps):
        if network.size + k in needed:
            renamed[network.size + k] = network.size + len(steps)
            steps.append(Step(larger, renamed[first], renamed[second]))
    return Network(network.size, tuple(steps), tuple(renamed[i] for i in network.outputs))
