"""Selection networks: which minima and maxima find two neighbouring ranks of m values.

A network is a straight-line programme without branches, so that it can run on vectors, each lane
on its own values. Two halves are sorted by Batcher's merge exchange (Knuth, The Art of Computer
Programming, vol. 3, algorithm 5.2.2M); the r-th largest of both together is the largest of
min(i-th of one, j-th of the other) over i + j = r. What no output needs, or comes twice, is left
out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple


class Step(NamedTuple):
    """One instruction: the larger, or the smaller, of two earlier values."""

    larger: bool
    first: int
    second: int


class Network(NamedTuple):
    """Steps over the inputs 0 ... size - 1; step k writes value size + k."""

    size: int
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


@functools.cache
def selection(size: int, rank: int) -> Network:
    """The network that finds the ``rank``-th and the next largest value, 1 <= rank < size."""
    steps: list[Step] = []

    def emit(larger: bool, first: int, second: int) -> int:
        step = Step(larger, min(first, second), max(first, second))
        if step not in steps:
            steps.append(step)
        return size + steps.index(step)

    half = (size + 1) // 2
    left, right = list(range(half)), list(range(half, size))
    for part in (left, right):
        for i, j in exchanges(len(part)):
            part[i], part[j] = emit(True, part[i], part[j]), emit(False, part[i], part[j])

    def of_both(larger: bool, r: int) -> int:
        # Of the r-th largest: the largest of min(i-th, j-th) with i + j = r; or else, counting
        # from the small end, the smallest of max(i-th, j-th).
        one, other = (left, right) if larger else (left[::-1], right[::-1])
        ends, inner = [], []
        for i in range(max(0, r - len(other)), min(r, len(one)) + 1):
            if i in (0, r):
                ends.append(one[r - 1] if i else other[r - 1])
            else:
                inner.append(emit(not larger, one[i - 1], other[r - i - 1]))
        candidates = ends + inner
        # A balanced tree: the depth is what a processor waits for.
        while len(candidates) > 1:
            pairs = zip(candidates[::2], candidates[1::2], strict=False)
            odd = candidates[-1:] if len(candidates) % 2 else []
            candidates = [emit(larger, *pair) for pair in pairs] + odd
        return candidates[0]

    outputs = of_both(True, rank), of_both(False, size - rank)
    return _without_dead_steps(Network(size, tuple(steps), outputs))


def exchanges(size: int) -> Iterator[tuple[int, int]]:
    """The compare-exchanges of merge exchange, each putting the larger value first."""
    if size < 2:
        return
    top = 1 << ((size - 1).bit_length() - 1)
    p = top
    while p:
        q, r, d = top, 0, p
        while d:
            for i in range(size - d):
                if i & p == r:
                    yield i, i + d
            d, q, r = q - p if q != p else 0, q >> 1, p
        p >>= 1


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
