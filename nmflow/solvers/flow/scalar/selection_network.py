"""Order statistics of many sequences at once: a sorting network whose wires are array rows."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import unaliased


def sorting_network(length: int) -> list[tuple[int, int]]:
    """Batcher's odd-even mergesort (1968) for any length: pairs to put in descending order."""
    pairs = []
    p = 1
    while p < length:
        k = p
        while k >= 1:
            for j in range(k % p, length - k, 2 * k):
                pairs += [
                    (i, i + k)
                    for i in range(j, min(j + k, length - k))
                    if i // (2 * p) == (i + k) // (2 * p)
                ]
            k //= 2
        p *= 2
    return pairs


@functools.lru_cache(256)
def selection_network(length: int, held: int) -> NDArray[np.int64]:
    """Pairs of wires to put in descending order, one after the other, flat.

    Afterwards the wires held - 1 and held hold the held-th and the next largest of ``length``; the
    comparators that serve other wires alone are left out. None are needed where held >= length.
    """
    if held >= length:
        return np.zeros(0, np.int64)
    needed, kept = {held - 1, held}, []
    for pair in reversed(sorting_network(length)):
        if not needed.isdisjoint(pair):
            needed.update(pair)
            kept.append(pair)
    return np.array(kept[::-1], np.int64).ravel()


@unaliased
def order(wires, lanes, network, comparators):
    """Run the network on the rows, of so many lanes, of a flat array."""
    for index in range(comparators):
        a, b = network[2 * index] * lanes, network[2 * index + 1] * lanes
        for lane in range(lanes):
            left, right = wires[a + lane], wires[b + lane]
            wires[a + lane] = left if left > right else right
            wires[b + lane] = right if left > right else left
