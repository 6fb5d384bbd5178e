"""The basis of the network simplex method: a spanning tree, and the potentials it implies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper

Integers = NDArray[np.int64]

# A basis is an array of one line a node, with these fields; -1 is none. Nodes: columns 0 .. c-1,
# the root c, then rows. A node's children form a doubly linked list, so that a subtree moves in
# O(1) and is walked without a stack. ROOM is what a row or column leaves unused, the flow of its
# slack arc. (One array, not a tuple of arrays: numba counts a reference whenever compiled code
# takes an array out of a tuple, which made pivots twice as slow.)
PARENT, CHILD, AFTER, BEFORE, ROOM = range(5)
FIELDS = 5

Tree = NDArray[np.int32]


@helper
def hang(tree: Tree, node: int, parent: int) -> None:
    """Make a node, with its subtree, the first child of ``parent``."""
    head = tree[parent, CHILD]
    tree[node, PARENT] = parent
    tree[parent, CHILD] = node
    tree[node, BEFORE] = -1
    tree[node, AFTER] = head
    if head >= 0:
        tree[head, BEFORE] = node


@helper
def cut(tree: Tree, node: int) -> None:
    """Take a node, with its subtree, out of its parent's list."""
    before, after = tree[node, BEFORE], tree[node, AFTER]
    if before >= 0:
        tree[before, AFTER] = after
    else:
        tree[tree[node, PARENT], CHILD] = after
    if after >= 0:
        tree[after, BEFORE] = before


@helper
def following(tree: Tree, node: int, top: int) -> int:
    """Return the node after ``node`` in a preorder walk of the subtree of ``top``, or -1."""
    if tree[node, CHILD] >= 0:
        return tree[node, CHILD]
    while node != top:
        if tree[node, AFTER] >= 0:
            return tree[node, AFTER]
        node = tree[node, PARENT]
    return -1


@helper
def shift(tree: Tree, potential: Integers, top: int, amount: int) -> None:
    """Add ``amount`` to the potentials of a subtree."""
    node = top
    while node >= 0:
        potential[node] += amount
        node = following(tree, node, top)


@helper
def settle(tree: Tree, root: int, score: Any, slack: Any, factor: Any, potential: Any) -> None:
    """Set the potentials under which ``factor * score`` has reduced cost 0 all over the tree."""
    potential[root] = 0
    node = following(tree, root, root)
    while node >= 0:
        above = tree[node, PARENT]
        if above == root:
            potential[node] = slack if node > root else -slack
        elif node > root:
            potential[node] = potential[above] + factor * score[node - root - 1, above]
        else:
            potential[node] = potential[above] - factor * score[above - root - 1, node]
        node = following(tree, node, root)
