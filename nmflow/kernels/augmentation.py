"""Successive shortest paths of ``flow``: from columns that hold too many to where units can go.

Slacks q - u - v are >= 0 on kept and <= 0 on pruned entries throughout, so all arc lengths of the
residual network are non-negative and Dijkstra's algorithm applies (Ahuja, Magnanti & Orlin,
Network Flows, 1993, sec. 9.7). The last part checks a finished mask for strictness.

Plain Python over arrays; see :mod:`nmflow.kernels.flow` for how it runs.
"""

from __future__ import annotations

from numba.extending import register_jitable

SOURCE = -1
UNREACHED = -2


@register_jitable
def next_node(infinity, work):
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
def shortest_path(q, n, u, v, x, full, infinity, work):
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
def move_unit(x, row, column, work):
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
def augment(q, n, u, v, x, full, infinity, work):
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
def is_strict(q, n, u, v, x, full, work):
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
def relax_slack(n, u, v, slack_label, work):
    """Label of the node that stands for capacity left unused: rows and columns reach it."""
    for i in range(u.size):
        slack_label = min(slack_label, work.row_distance[i] + u[i] - 1)
    for j in range(v.size):
        if work.column_count[j] < n:
            slack_label = min(slack_label, work.column_distance[j])
    return slack_label
