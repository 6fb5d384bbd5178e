"""Whether an optimal mask of floored scores is the only optimal one of the scores themselves.

Every change of the mask must cost more units than it adds entries: then the mask stays optimal even
if each added score is larger than its floor by anything below one unit. A change is a cycle of the
residual network (:mod:`nmflow.solvers.flow.scalar.augmentation`), so the question is whether a
cycle is negative once every addition is one unit dearer. A cycle without additions drops one entry
of a partial tile and nothing else: it costs that entry's score, which is not negative, and where it
is zero an entry of each tie table, which is positive.

Plain Python over arrays; see :mod:`nmflow.solvers.flow.scalar.solve` for how it runs.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper
from nmflow.solvers.flow.scalar.workspace import DISTANCE, counts, potentials


@helper
def is_unique(n, full, x, work):
    """Bellman-Ford over the arcs that matter: the mask is unique if no cycle is negative.

    A simple cycle has at most min(r, c) additions, so labels below -min(r, c) betray a negative
    cycle, and an arc as long as the labels are deep never shortens a path.
    """
    q = work.by_row[0]
    rows, columns = q.shape
    arcs = work.by_row[1].reshape(rows * columns)
    u, v = potentials(work)
    row_count, column_count = counts(work)
    column_label = work.nodes[DISTANCE, :columns]
    row_label = work.nodes[DISTANCE, columns : columns + rows]
    depth = min(rows, columns) + 1
    count = near_arcs(depth, q, u, v, arcs)
    row_label[:] = 0
    column_label[:] = 0
    slack_label = 0 * q[0, 0]
    while True:
        changed = False
        for k in range(count):
            i, j = arcs[k] // columns, arcs[k] % columns
            reduced = q[i, j] - u[i] - v[j]
            if x[i, j]:
                if column_label[j] + reduced < row_label[i]:
                    row_label[i] = column_label[j] + reduced
                    changed = True
            elif row_label[i] - reduced - 1 < column_label[j]:
                column_label[j] = row_label[i] - reduced - 1
                changed = True
                if column_label[j] < -depth:
                    return False
        if not full:
            before = slack_label
            slack_label = into_slack(n, slack_label, u, row_label, column_label, column_count)
            changed |= slack_label < before
            changed |= out_of_slack(n, slack_label, v, row_label, column_label, row_count)
        if not changed:
            return True


@helper
def near_arcs(depth, q, u, v, arcs):
    """List the entries whose reduced cost is at most ``depth`` in size; how many."""
    rows, columns = q.shape
    count = 0
    for i in range(rows):
        near = 0
        for j in range(columns):
            near += abs(q[i, j] - u[i] - v[j]) <= depth
        if near == 0:
            continue
        for j in range(columns):
            if abs(q[i, j] - u[i] - v[j]) <= depth:
                arcs[count] = i * columns + j
                count += 1
    return count


@helper
def into_slack(n, slack_label, u, row_label, column_label, column_count):
    """Label of the slack node: rows give units up to it, columns below n take them."""
    for i in range(u.size):
        slack_label = min(slack_label, row_label[i] + u[i])
    for j in range(column_count.size):
        if column_count[j] < n[1]:
            slack_label = min(slack_label, column_label[j])
    return slack_label


@helper
def out_of_slack(n, slack_label, v, row_label, column_label, row_count):
    """Labels of rows below n and of columns, by way of the slack node; whether any changed."""
    changed = False
    for i in range(row_count.size):
        if row_count[i] < n[0] and slack_label < row_label[i]:
            row_label[i] = slack_label
            changed = True
    for j in range(v.size):
        if slack_label + v[j] < column_label[j]:
            column_label[j] = slack_label + v[j]
            changed = True
    return changed
