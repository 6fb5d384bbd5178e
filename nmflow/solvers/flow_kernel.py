"""The algorithm of ``flow`` on one tile of integer scores, for two arithmetics.

Every function here is plain Python over arrays. :func:`solve_batch` compiles them with numba for
64-bit integers; interpreted on arrays of Python integers (``dtype=object``) the same source is
exact at any magnitude, which is what the few tiles need whose scores 64 bits cannot hold.

The primal keeps x = 1; the LP dual has a potential u_i per row and v_j per column, and the slack
``q_ij - u_i - v_j`` of an entry is >= 0 where it is kept and <= 0 where it is pruned.

All helpers live in this one file because numba's cache watches only the file of the compiled entry
point: a helper edited elsewhere would leave stale machine code in use.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from nmflow.solvers.jit import compile_kernel

# Rounds of dual ascent before augmenting. Measured on |N(0,1)| at 4:8, 8:16 and 16:32: fewer
# leave more units to the augmentation, more cost as much as they save.
ROUNDS = 4

SOURCE = -1
UNREACHED = -2


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
def select(values, n, length):  # type: ignore[no-untyped-def]
    """The n-th and the (n+1)-th largest of ``values[:length]``, 1 <= n < length; reorders."""
    low, high = 0, length - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if n - 1 <= j:
            high = j
        elif n - 1 >= i:
            low = i
        else:
            break
    following = values[n]
    for k in range(n + 1, length):
        if values[k] > following:
            following = values[k]
    return values[n - 1], following


@register_jitable
def relaxed_midpoint(upper, lower, old):  # type: ignore[no-untyped-def]
    """Half a step beyond the midpoint of two order statistics, kept between them.

    Any threshold t with lower <= t < upper keeps the n largest and prunes the rest; moving past
    the middle in the direction of travel (over-relaxation) balances the columns in fewer rounds.
    """
    middle = (upper + lower) >> 1
    step = middle + ((middle - old) >> 1)
    if step >= upper:
        step = upper - 1
    if step < lower:
        step = lower
    return step


@register_jitable
def row_step(q, n, u, v, work):  # type: ignore[no-untyped-def]
    """Set each row's potential so that the row keeps its n largest slacks."""
    rows, columns = q.shape
    for i in range(rows):
        for j in range(columns):
            work.values[j] = q[i, j] - v[j]
        upper, lower = select(work.values, n, columns)
        u[i] = relaxed_midpoint(upper, lower, u[i])


@register_jitable
def column_step(q, n, u, v, work):  # type: ignore[no-untyped-def]
    """The same for columns."""
    rows, columns = q.shape
    for j in range(columns):
        for i in range(rows):
            work.values[i] = q[i, j] - u[i]
        upper, lower = select(work.values, n, rows)
        v[j] = relaxed_midpoint(upper, lower, v[j])


@register_jitable
def threshold(q, n, u, v, x, work):  # type: ignore[no-untyped-def]
    """Keep the positive slacks; say whether every row and column then holds n.

    If so, the mask is the only optimal one: any other gives up slacks >= 1 for slacks <= 0.
    """
    rows, columns = q.shape
    work.column_count[:] = 0
    balanced = True
    for i in range(rows):
        held = 0
        for j in range(columns):
            keep = q[i, j] - u[i] - v[j] > 0
            x[i, j] = keep
            if keep:
                held += 1
                work.column_count[j] += 1
        work.row_count[i] = held
        balanced = balanced and held == n
    for j in range(columns):
        balanced = balanced and work.column_count[j] == n
    return balanced


@register_jitable
def ascend(q, n, u, v, x, work):  # type: ignore[no-untyped-def]
    """Midpoint dual ascent on a full tile; say whether it ended in a proved mask."""
    u[:] = 0
    v[:] = 0
    for sweep in range(ROUNDS + 1):
        if sweep:
            column_step(q, n, u, v, work)
        row_step(q, n, u, v, work)
        if threshold(q, n, u, v, x, work):
            return True
    return False


@register_jitable
def fill_ties(q, n, u, v, x, work):  # type: ignore[no-untyped-def]
    """Give rows that hold fewer than n their entries of slack 0, emptiest column first."""
    rows, columns = q.shape
    for i in range(rows):
        while work.row_count[i] < n:
            best = -1
            for j in range(columns):
                if x[i, j] or q[i, j] - u[i] - v[j] != 0:
                    continue
                if best < 0 or work.column_count[j] < work.column_count[best]:
                    best = j
            x[i, best] = True
            work.row_count[i] += 1
            work.column_count[best] += 1


@register_jitable
def relax_columns(q, n, u, v, x, work):  # type: ignore[no-untyped-def]
    """Optimum of a partial tile without its column constraints: v = 0, u_i >= 0.

    u_i > 0 only where row i holds n, as complementary slackness demands.
    """
    rows, columns = q.shape
    v[:] = 0
    work.column_count[:] = 0
    for i in range(rows):
        u[i] = 0 * q[i, 0]
        if columns > n:
            work.values[:columns] = q[i]
            upper, lower = select(work.values, n, columns)
            u[i] = max(0 * upper, relaxed_midpoint(upper, lower, upper))
        held = 0
        for j in range(columns):
            x[i, j] = q[i, j] > u[i]
            held += x[i, j]
        for j in range(columns):
            if u[i] > 0 and held < n and q[i, j] == u[i]:
                x[i, j] = True
                held += 1
            work.column_count[j] += x[i, j]
        work.row_count[i] = held


@register_jitable
def next_node(infinity, work):  # type: ignore[no-untyped-def]
    """The nearest node not yet done, as (distance, row or -1, column or -1)."""
    best, row, column = infinity, -1, -1
    for j in range(work.column_done.size):
        if not work.column_done[j] and work.column_distance[j] < best:
            best, row, column = work.column_distance[j], -1, j
    for i in range(work.row_done.size):
        if not work.row_done[i] and work.row_distance[i] < best:
            best, row, column = work.row_distance[i], i, -1
    return best, row, column


@register_jitable
def shortest_path(q, n, u, v, x, full, infinity, work):  # type: ignore[no-untyped-def]
    """Dijkstra from all over-full columns to where a unit can go; (distance, row, column).

    Alternating paths: from a column drop a kept entry, at a row add a pruned one. A path ends at
    a column that holds fewer than n, or, on a partial tile, at a row that gives the unit up for
    the price u_i of its constraint; the end is the row or column returned, the other being -1.
    """
    rows, columns = q.shape
    work.row_distance[:] = infinity
    work.row_via[:] = UNREACHED
    work.row_done[:] = False
    work.column_done[:] = False
    for j in range(columns):
        over = work.column_count[j] > n
        work.column_distance[j] = 0 * q[0, 0] if over else infinity
        work.column_via[j] = SOURCE if over else UNREACHED
    exit_distance, exit_row = infinity, -1
    while True:
        distance, i, j = next_node(infinity, work)
        if exit_distance <= distance:
            return exit_distance, exit_row, -1
        if i < 0:
            if work.column_count[j] < n:
                return distance, -1, j
            work.column_done[j] = True
            for i in range(rows):
                if x[i, j]:
                    reached = distance + q[i, j] - u[i] - v[j]
                    if reached < work.row_distance[i]:
                        work.row_distance[i], work.row_via[i] = reached, j
        else:
            work.row_done[i] = True
            if not full and distance + u[i] < exit_distance:
                exit_distance, exit_row = distance + u[i], i
            for j in range(columns):
                if not x[i, j]:
                    reached = distance + u[i] + v[j] - q[i, j]
                    if reached < work.column_distance[j]:
                        work.column_distance[j], work.column_via[j] = reached, i


@register_jitable
def move_unit(x, row, column, work):  # type: ignore[no-untyped-def]
    """Flip the entries of the path that ends at that row or column, back to its source."""
    if column >= 0:
        work.column_count[column] += 1
    else:
        work.row_count[row] -= 1
        column = work.row_via[row]
        x[row, column] = False
    while work.column_via[column] != SOURCE:
        row = work.column_via[column]
        x[row, column] = True
        column = work.row_via[row]
        x[row, column] = False
    work.column_count[column] -= 1


@register_jitable
def augment(q, n, u, v, x, full, infinity, work):  # type: ignore[no-untyped-def]
    """Move every unit too many along shortest paths; ends with optimal x, u, v."""
    rows, columns = q.shape
    while work.column_count.max() > n:
        distance, row, column = shortest_path(q, n, u, v, x, full, infinity, work)
        for i in range(rows):
            if work.row_done[i]:
                u[i] -= distance - work.row_distance[i]
        for j in range(columns):
            if work.column_done[j]:
                v[j] += distance - work.column_distance[j]
        move_unit(x, row, column, work)


@register_jitable
def is_strict(q, n, u, v, x, full, work):  # type: ignore[no-untyped-def]
    """Whether every change of the mask costs more units than it adds entries.

    Bellman-Ford over the residual network with every addition (and, on a partial tile, every
    unit given up) one unit dearer: no negative cycle means strict. Then the mask is the only
    optimal one even if each added score were larger by any amount below one unit.
    """
    rows, columns = q.shape
    row_label, column_label = work.row_distance, work.column_distance
    row_label[:] = 0
    column_label[:] = 0
    slack_label = 0 * q[0, 0]
    for _ in range(rows + columns + 2):
        changed = False
        for i in range(rows):
            for j in range(columns):
                slack = q[i, j] - u[i] - v[j]
                if x[i, j]:
                    if column_label[j] + slack < row_label[i]:
                        row_label[i] = column_label[j] + slack
                        changed = True
                elif row_label[i] - slack - 1 < column_label[j]:
                    column_label[j] = row_label[i] - slack - 1
                    changed = True
        if not full:
            before = slack_label
            slack_label = relax_slack(n, u, v, slack_label, work)
            changed = changed or slack_label < before
            for i in range(rows):
                if work.row_count[i] < n and slack_label < row_label[i]:
                    row_label[i] = slack_label
                    changed = True
            for j in range(columns):
                if slack_label + v[j] < column_label[j]:
                    column_label[j] = slack_label + v[j]
                    changed = True
        if not changed:
            return True
    return False


@register_jitable
def relax_slack(n, u, v, slack_label, work):  # type: ignore[no-untyped-def]
    """Label of the node that stands for capacity left unused: rows and columns reach it."""
    for i in range(u.size):
        slack_label = min(slack_label, work.row_distance[i] + u[i] - 1)
    for j in range(v.size):
        if work.column_count[j] < n:
            slack_label = min(slack_label, work.column_distance[j])
    return slack_label


@register_jitable
def solve_tile(q, n, full, infinity, x, u, v, work):  # type: ignore[no-untyped-def]
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
def solve_batch(q, n, full, x, u, v, strict):  # type: ignore[no-untyped-def]
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
