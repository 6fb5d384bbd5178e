"""Scores of any range as digits: the 64-bit problems of the network simplex method."""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import helper
from nmflow.solvers.network_simplex.tree import PARENT, Integers, Tree

# How the 64 bits of a score are to be read.
FLOAT, SIGNED, UNSIGNED = range(3)


@helper
def decode(word: int, kind: int) -> tuple[int, int]:
    """Integers (mantissa, exponent) of a score."""
    if kind != FLOAT:
        return word, 0
    field = (word >> 52) & 0x7FF
    mantissa = word & ((1 << 52) - 1)
    if field == 0:
        field = 1
    else:
        mantissa |= 1 << 52
    return (-mantissa if word < 0 else mantissa), field - 1075


@helper
def magnitude(words: Integers, kind: int) -> int:
    """Return the least e, or a little more, with every |score| <= 2**e."""
    bits = np.int64(0)
    if kind == FLOAT:
        for word in words.flat:
            bits = max(bits, (word >> 52) & 0x7FF)
        return max(bits, 1) - 1022
    for word in words.flat:
        bits |= word if kind == UNSIGNED else word ^ (word >> 63)
    if bits < 0:
        return 64
    e = 0
    while bits >> e:
        e += 1
    return e


@helper
def scaled(mantissa: int, shift: int) -> int:
    """Floor of ``mantissa * 2**shift``, modulo 2**64."""
    return mantissa << min(shift, 63) if shift >= 0 else mantissa >> min(-shift, 63)


@helper
def load(
    score: Integers,
    potential: Integers,
    unit: int,
    words: Integers,
    kind: int,
    exponent: int,
    digits: int,
    clip: int,
) -> bool:
    """Pose the problem in units of 2**-exponent; tell whether a score has bits below that.

    The first time (``clip`` = 0) by the floored scores, which are below 2**digits. Then by the
    reduced costs at hand, a unit of which is 2**digits new ones, clipped to +- ``clip``, and the
    scores' next ``digits`` digits.
    """
    rows, columns = words.shape
    below = False
    for i in range(score.shape[0]):
        u = potential[columns + 1 + i]
        for j in range(score.shape[1]):
            value = np.int64(0)
            if i < rows and j < columns:
                mantissa, e = decode(words[i, j], kind)
                value = scaled(mantissa, e + exponent)
                dropped = min(max(-e - exponent, 0), 62)
                below |= mantissa & ((1 << dropped) - 1) != 0
            if clip or kind == UNSIGNED:
                value &= (1 << digits) - 1
            if clip:
                reduced = (score[i, j] - u + potential[j]) // unit
                value += min(max(reduced, -clip), clip) << digits
            score[i, j] = value * unit
    return below


@helper
def undecided(score: Integers, potential: Integers, tree: Tree, root: int, bound: int) -> bool:
    """Whether an arc outside the tree has a reduced cost of at most ``bound``."""
    near = 0
    for i in range(score.shape[0]):
        u = potential[root + 1 + i]
        for j in range(score.shape[1]):
            near += abs(score[i, j] - u + potential[j]) <= bound
    # The slack arcs are in the matrix on a ragged tile only, and with them the empty corner.
    ragged = score.shape[1] > root
    for node in range(tree.shape[0]):
        if ragged or (node != root and tree[node, PARENT] != root):
            near -= 1
    return near > 0
