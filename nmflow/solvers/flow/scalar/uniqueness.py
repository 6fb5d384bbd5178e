"""Whether an optimal mask of floored scores is the only optimal one of the scores themselves.

Every change of the mask must cost more units than it adds entries: then the mask stays optimal even
if each added score is larger than its floor by anything below one unit. A change is a cycle of the
residual network (:mod:`nmflow.solvers.flow.scalar.augmentation`), so the question is whether a
cycle is negative once every addition is one unit dearer. A cycle without additions drops one entry
of a partial tile and nothing else: it costs that entry's score, which is not negative, and where it
is zero an entry of each tie table, which is positive.

Plain Python over flat arrays; see :mod:`nmflow.solvers.flow.scalar.kernel` for how it runs.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper


@helper
def is_unique(n, full, work):
    """Bellman-Ford over the arcs that matter: the mask is unique if no cycle is negative.

    A simple cycle has at most min(r, c) additions, so labels below -min(r, c) betray a negative
    cycle, and an arc as long as the labels are deep never shortens a path.
    """
    q, u, v, kept, arcs, label = work.q, work.u, work.v, work.kept, work.add, work.distance
    rows, columns = work.rows, work.columns
    depth = (rows if rows < columns else columns) + 1
    count = near_arcs(depth, work)
    for k in range(columns + rows + 1):
        label[k] = 0
    while True:
        changed = False
        for k in range(count):
            entry = arcs[k]
            i, j = entry // columns, entry % columns
            reduced = q[entry] - u[i] - v[j]
            row = columns + i
            if kept[entry]:
                if label[j] + reduced < label[row]:
                    label[row] = label[j] + reduced
                    changed = True
            elif label[row] - reduced - 1 < label[j]:
                label[j] = label[row] - reduced - 1
                changed = True
                if label[j] < -depth:
                    return False
        if not full and through_slack(n, work):
            changed = True
        if not changed:
            return True


@helper
def near_arcs(depth, work):
    """List the entries whose reduced cost is at most ``depth`` in size; how many."""
    q, u, v, arcs = work.q, work.u, work.v, work.add
    columns = work.columns
    count = 0
    for i in range(work.rows):
        near = 0
        for j in range(columns):
            near += 1 if abs(q[i * columns + j] - u[i] - v[j]) <= depth else 0
        if near == 0:
            continue
        for j in range(columns):
            if abs(q[i * columns + j] - u[i] - v[j]) <= depth:
                arcs[count] = i * columns + j
                count += 1
    return count


@helper
def through_slack(n, work):
    """Labels by way of the slack node; whether any changed.

    Rows give units up to it, columns below n take them; from it units lead to rows below n and to
    columns.
    """
    u, v, label = work.u, work.v, work.distance
    rows, columns = work.rows, work.columns
    before = label[columns + rows]
    slack = before
    for i in range(rows):
        if label[columns + i] + u[i] < slack:
            slack = label[columns + i] + u[i]
    for j in range(columns):
        if work.column_count[j] < n[1] and label[j] < slack:
            slack = label[j]
    label[columns + rows] = slack
    changed = slack < before
    for i in range(rows):
        if work.row_count[i] < n[0] and slack < label[columns + i]:
            label[columns + i] = slack
            changed = True
    for j in range(columns):
        if slack + v[j] < label[j]:
            label[j] = slack + v[j]
            changed = True
    return changed
