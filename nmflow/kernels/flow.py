"""The algorithm of ``flow`` on one tile of integer scores, for two arithmetics.

The functions of this file and of the two it calls are plain Python over arrays.
:func:`solve_batch` compiles them with numba for 64-bit integers; interpreted on arrays of Python
integers (``dtype=object``) the same source is exact at any magnitude, which is what the few tiles
need whose scores 64 bits cannot hold.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from nmflow.kernels.augmentation import augment, is_strict
from nmflow.kernels.dual_ascent import ROUNDS, ascend, fill_ties, relax_columns
from nmflow.kernels.jit import compile_kernel


class Workspace(NamedTuple):
    """Scratch arrays of one tile shape, allocated once for a batch."""

    values: NDArray[Any]
    row_distance: NDArray[Any]
    column_distance: NDArray[Any]
    row_via: NDArray[np.int64]
    column_via: NDArray[np.int64]
    row_done: NDArray[np.bool_]
    column_done: NDArray[np.bool_]
    row_count: NDArray[np.int64]
    column_count: NDArray[np.int64]


@register_jitable
def workspace(rows: int, columns: int, like: NDArray[Any]) -> Workspace:
    """Scratch for tiles of that shape, its numbers of the dtype of ``like``."""
    return Workspace(
        np.empty(max(rows, columns), like.dtype),
        np.empty(rows, like.dtype),
        np.empty(columns, like.dtype),
        np.empty(rows, np.int64),
        np.empty(columns, np.int64),
        np.empty(rows, np.bool_),
        np.empty(columns, np.bool_),
        np.empty(rows, np.int64),
        np.empty(columns, np.int64),
    )


@register_jitable
def solve_tile(q, n, full, infinity, x, u, v, work):
    """Optimal mask and potentials of one tile, n < m if full; whether the mask is strict."""
    if full:
        if ascend(q, n, u, v, x, work):
            return True
        fill_ties(q, n, u, v, x, work)
    else:
        relax_columns(q, n, u, v, x, work)
    augment(q, n, u, v, x, full, infinity, work)
    return is_strict(q, n, u, v, x, full, work)


@compile_kernel
def solve_batch(q, n, full, x, u, v, strict):
    """:func:`solve_tile` for each tile of an int64 batch, into x, u, v and strict."""
    work = workspace(q.shape[1], q.shape[2], q)
    infinity = np.int64(2**63 - 1)
    for t in range(q.shape[0]):
        strict[t] = solve_tile(q[t], n, full, infinity, x[t], u[t], v[t], work)


def solve_unbounded(q: NDArray[Any], n: int, full: bool) -> NDArray[np.bool_]:
    """Optimal mask of one tile of Python integers of any size (``dtype=object``)."""
    rows, columns = q.shape
    x = np.zeros((rows, columns), np.bool_)
    u, v = np.zeros(rows, object), np.zeros(columns, object)
    infinity = 8 * (rows + columns + ROUNDS) * (1 + int(abs(q).max()))
    solve_tile(q, n, full, infinity, x, u, v, workspace(rows, columns, q))
    return x
