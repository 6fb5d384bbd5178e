"""Scratch of ``flow`` for one tile shape, allocated once for a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from nmflow.kernels.selection_network import selection_network


class Workspace(NamedTuple):
    """The problem, its potentials, and scratch, for tiles of one shape.

    The nodes of the residual network are numbered: the columns, then the rows, then one node for
    capacity left unused on a partial tile.
    """

    q: NDArray[Any]  # scores in units, (r, c)
    qt: NDArray[Any]  # their transpose, (c, r)
    u: NDArray[Any]
    v: NDArray[Any]
    add: NDArray[Any]  # what adding a pruned entry costs but for potentials, (r, c)
    drop: NDArray[Any]  # what dropping a kept one costs, (c, r)
    distance: NDArray[Any]
    column_distance: NDArray[Any]  # views of the above
    row_distance: NDArray[Any]
    via: NDArray[np.int64]
    column_via: NDArray[np.int64]
    row_via: NDArray[np.int64]
    closed: NDArray[Any]
    row_count: NDArray[np.int64]
    column_count: NDArray[np.int64]
    arcs: NDArray[np.int64]
    row_network: NDArray[np.int64]  # selects in a row, among columns
    column_network: NDArray[np.int64]


@register_jitable
def workspace(rows, columns, n, like):
    """Scratch for tiles of that shape, its numbers of the dtype of ``like``."""
    nodes = columns + rows + 1
    distance = np.empty(nodes, like.dtype)
    via = np.empty(nodes, np.int64)
    return Workspace(
        np.empty((rows, columns), like.dtype),
        np.empty((columns, rows), like.dtype),
        np.empty(rows, like.dtype),
        np.empty(columns, like.dtype),
        np.empty((rows, columns), like.dtype),
        np.empty((columns, rows), like.dtype),
        distance,
        distance[:columns],
        distance[columns : columns + rows],
        via,
        via[:columns],
        via[columns : columns + rows],
        np.empty(nodes, like.dtype),
        np.empty(rows, np.int64),
        np.empty(columns, np.int64),
        np.empty(rows * columns, np.int64),
        selection_network(columns, n),
        selection_network(rows, n),
    )
