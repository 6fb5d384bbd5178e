"""Scratch memory of the scalar fallback for one tile shape, allocated once for a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper
from nmflow.solvers.flow.scalar.selection_network import selection_networks

# Rows of Workspace.nodes.
POTENTIAL, COUNT, DISTANCE, VIA, CLOSED = range(5)


class Workspace(NamedTuple):
    """The problem, its potentials, and scratch, for tiles of one shape.

    Few arrays, because compiled functions take them apart and put them together at each call.
    """

    # Scores in units; what adding a pruned entry costs, but for potentials. (2, r, c)
    by_row: NDArray[Any]
    # The scores again; what dropping a kept entry costs, but for potentials. (2, c, r)
    by_column: NDArray[Any]
    # Properties of the columns, then of the rows, then of the capacity that a partial tile leaves
    # unused. (5, c + r + 1)
    nodes: NDArray[Any]
    # Comparators that select among rows, for a column, and among columns, for a row. (2, *, 2)
    networks: NDArray[np.int64]


@helper
def workspace(rows, columns, n, like):
    """Scratch memory for tiles of that shape and rows and columns that hold so many, n = (n, n').

    Its numbers are of the dtype of ``like``.
    """
    return Workspace(
        np.empty((2, rows, columns), like.dtype),
        np.empty((2, columns, rows), like.dtype),
        np.empty((5, columns + rows + 1), like.dtype),
        selection_networks(rows, columns, n),
    )


@helper
def potentials(work):
    """Views: the potentials of rows and of columns."""
    columns, rows = work.by_column.shape[1:]
    return work.nodes[POTENTIAL, columns : columns + rows], work.nodes[POTENTIAL, :columns]


@helper
def counts(work):
    """Views: how many entries rows and columns hold."""
    columns, rows = work.by_column.shape[1:]
    return work.nodes[COUNT, columns : columns + rows], work.nodes[COUNT, :columns]
