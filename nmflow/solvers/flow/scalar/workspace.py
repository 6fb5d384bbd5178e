"""Scratch memory of the scalar stage for one tile, allocated once for a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.structs import Struct
from nmflow.solvers.flow.scalar.selection_network import selection_network


class Workspace(Struct, pointers=True):
    """One tile, its potentials and mask, and scratch; flat arrays, matrices row by row.

    Attributes
    ----------
    rows, columns : r, c
    q, q_by_column : (r * c,), (c * r,)
        The scores in units, and transposed.
    add, drop : (r * c,), (c * r,)
        What adding a pruned entry costs, and, by columns, what dropping a kept one does, but for
        potentials; before that, what the ascent puts in order.
    u, v : (r,), (c,)
        Potentials of rows and columns.
    kept : (r * c,) uint8
        The mask.
    row_count, column_count : (r,), (c,)
        What they hold.
    distance, via, closed : (c + r + 1,)
        Of the columns, then of the rows, then of the capacity that a partial tile leaves unused.
    column_network, row_network : (2 * comparators,)
        What selects among rows, for a column, and among columns, for a row.
    column_comparators, row_comparators : int
    """

    rows: int
    columns: int
    q: NDArray[np.int64]
    q_by_column: NDArray[np.int64]
    add: NDArray[np.int64]
    drop: NDArray[np.int64]
    u: NDArray[np.int64]
    v: NDArray[np.int64]
    kept: NDArray[np.uint8]
    row_count: NDArray[np.int64]
    column_count: NDArray[np.int64]
    distance: NDArray[np.int64]
    via: NDArray[np.int64]
    closed: NDArray[np.int64]
    column_network: NDArray[np.int64]
    row_network: NDArray[np.int64]
    column_comparators: int
    row_comparators: int


class UnboundedWorkspace(NamedTuple):
    """As :class:`Workspace`, of Python integers, which no kernel takes."""

    rows: int
    columns: int
    q: NDArray[Any]
    q_by_column: NDArray[Any]
    add: NDArray[Any]
    drop: NDArray[Any]
    u: NDArray[Any]
    v: NDArray[Any]
    kept: NDArray[np.uint8]
    row_count: NDArray[np.int64]
    column_count: NDArray[np.int64]
    distance: NDArray[Any]
    via: NDArray[np.int64]
    closed: NDArray[Any]


# Entries of a tile.
_LARGEST_KEPT = 1 << 10
_free: dict[tuple[int, int, tuple[int, int]], list[Workspace]] = {}


@contextmanager
def workspace(rows: int, columns: int, n: tuple[int, int]) -> Iterator[Workspace]:
    """As :func:`new_workspace`, or one that was given back: making one takes as long as a tile."""
    free = _free.setdefault((rows, columns, n), [])
    work = free.pop() if free else new_workspace(rows, columns, n)
    yield work
    # Of large tiles it takes no time beside them, and would be megabytes.
    if rows * columns <= _LARGEST_KEPT:
        free.append(work)


def new_workspace(rows: int, columns: int, n: tuple[int, int]) -> Workspace:
    """Scratch memory for tiles of that shape; rows hold n[0], columns n[1]."""
    networks = selection_network(rows, n[1]), selection_network(columns, n[0])
    return Workspace(
        rows,
        columns,
        *_numbers(rows, columns, np.int64),
        *networks,
        *(network.size // 2 for network in networks),
    )


def new_unbounded_workspace(rows: int, columns: int) -> UnboundedWorkspace:
    """As :func:`new_workspace`, without networks."""
    return UnboundedWorkspace(rows, columns, *_numbers(rows, columns, object))


def _numbers(rows: int, columns: int, kind: Any) -> list[NDArray[Any]]:
    """All arrays but the networks; those of scores are of the given type."""
    size, nodes = rows * columns, columns + rows + 1
    sizes = (
        *((size, kind),) * 4,
        *((rows, kind), (columns, kind), (size, np.uint8), (rows, np.int64), (columns, np.int64)),
        *((nodes, kind), (nodes, np.int64), (nodes, kind)),
    )
    return [np.zeros(length, each) for length, each in sizes]
