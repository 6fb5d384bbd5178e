"""Order statistics of many sequences at once: a sorting network whose wires are array rows."""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import helper
from nmflow.solvers.flow.scalar.bits import bit_length


@helper
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


@helper
def selection_networks(rows, columns, n):
    """Pairs of wires to put in descending order, one after the other, shape (2, count, 2).

    Afterwards the wires k - 1 and k hold the k-th and the (k+1)-th largest: of ``rows`` wires by
    the first network, with k = n[1], of ``columns`` by the second, with k = n[0]. The comparators
    that serve other wires alone are replaced by some that do nothing, and those in front of both
    networks are left out.
    """
    longest = max(rows, columns, 2)
    steps = bit_length(longest - 1)
    size = longest * steps * (steps + 1) // 4 + longest
    networks = np.zeros((2, size, 2), np.int64)
    needed = np.empty(longest, np.bool_)
    first = size
    for which in range(2):
        length, held = (columns, n[0]) if which else (rows, n[1])
        if held >= length:
            continue
        count = sorting_network(length, networks[which])
        needed[:] = False
        needed[held - 1] = True
        needed[held] = True
        end = size
        for index in range(count - 1, -1, -1):
            a, b = networks[which, index, 0], networks[which, index, 1]
            networks[which, index, 0], networks[which, index, 1] = 0, 0
            if needed[a] or needed[b]:
                needed[a] = True
                needed[b] = True
                end -= 1
                networks[which, end, 0], networks[which, end, 1] = a, b
        first = min(first, end)
    return networks[:, first:]


@helper
def order(wires, network):
    """Run the network on the rows of an array, all columns at once."""
    for index in range(network.shape[0]):
        a, b = network[index, 0], network[index, 1]
        for lane in range(wires.shape[1]):
            left, right = wires[a, lane], wires[b, lane]
            wires[a, lane] = left if left > right else right
            wires[b, lane] = right if left > right else left
