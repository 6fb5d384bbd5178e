"""Order statistics of many sequences at once: a sorting network whose wires are array rows."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable


@register_jitable
def sorting_network(length, pairs):
    """Batcher's odd-even mergesort (1968) for any length, into ``pairs``; how many comparators."""
    count = 0
    p = 1
    while p < length:
        k = p
        while k >= 1:
            for j in range(k % p, length - k, 2 * k):
                for i in range(min(k, length - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        pairs[count, 0], pairs[count, 1] = i + j, i + j + k
                        count += 1
            k //= 2
        p *= 2
    return count


@register_jitable
def selection_network(length, n):
    """Pairs of wires to put in descending order, one after the other, shape (count, 2).

    Afterwards the wires n - 1 and n hold the n-th and the (n+1)-th largest; the comparators that
    serve other wires alone are left out. None where n >= length.
    """
    steps = 1
    while (1 << steps) < length:
        steps += 1
    pairs = np.empty((length * steps * (steps + 1) // 4 + length, 2), np.int64)
    if n >= length:
        return pairs[:0].copy()
    count = sorting_network(length, pairs)
    needed = np.zeros(length, np.bool_)
    needed[n - 1] = True
    needed[n] = True
    first = count
    for index in range(count - 1, -1, -1):
        a, b = pairs[index, 0], pairs[index, 1]
        if needed[a] or needed[b]:
            needed[a] = True
            needed[b] = True
            first -= 1
            pairs[first, 0], pairs[first, 1] = a, b
    return pairs[first:count].copy()


@register_jitable
def order(wires, network):
    """Run the network on the rows of an array, all columns at once."""
    for index in range(network.shape[0]):
        a, b = network[index, 0], network[index, 1]
        for lane in range(wires.shape[1]):
            left, right = wires[a, lane], wires[b, lane]
            wires[a, lane] = left if left > right else right
            wires[b, lane] = right if left > right else left
