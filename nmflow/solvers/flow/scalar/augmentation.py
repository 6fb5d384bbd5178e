"""Successive shortest paths of ``flow``: from columns that hold too many to those that miss some.

Reduced costs q - u - v are >= 0 on kept and <= 0 on pruned entries throughout, so all arc lengths
of the residual network are non-negative and Dijkstra's algorithm applies (Ahuja, Magnanti & Orlin,
Network Flows, 1993, sec. 9.7). Paths alternate: at a column drop a kept entry, at a row add a
pruned one. On a partial tile one more node, the slack node, stands for unused capacity: a row gives
a unit up to it for its price u_i, and takes one for nothing where it holds fewer than n; a column
likewise, the other way round.

Plain Python over arrays; see :mod:`nmflow.solvers.flow.scalar.solve` for how it runs.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper
from nmflow.solvers.flow.scalar.dual_ascent import flip
from nmflow.solvers.flow.scalar.workspace import CLOSED, DISTANCE, VIA, counts, potentials

SOURCE = -1


@helper
def imbalance(n, full, v, column_count):
    """Units that columns hold too many, and units that they miss.

    On a partial tile only a column with a positive price must hold n.
    """
    over, under = 0, 0
    for j in range(v.size):
        excess = column_count[j] - n[1]
        if excess > 0:
            over += excess
        elif full or v[j] > 0:
            under -= excess
    return over, under


@helper
def nearest(distance, closed, nodes):
    """The nearest node whose distance is not final."""
    best = distance[0] + closed[0]
    for k in range(1, nodes):
        reached = distance[k] + closed[k]
        best = reached if reached < best else best
    for k in range(nodes):
        if distance[k] + closed[k] == best:
            return k
    return -1


@helper
def from_column(j, base, drop, u, distance, via):
    """Shorten the paths to rows by dropping kept entries of column j."""
    for i in range(u.size):
        reached = base + drop[j, i] - u[i]
        old = distance[i]
        distance[i] = reached if reached < old else old
        via[i] = j if reached < old else via[i]


@helper
def from_row(i, node, base, add, v, distance, via):
    """Shorten the paths to columns by adding pruned entries of row i."""
    for j in range(v.size):
        reached = base + add[i, j] + v[j]
        old = distance[j]
        distance[j] = reached if reached < old else old
        via[j] = node if reached < old else via[j]


@helper
def from_slack(n, reached, slack, v, row_count, distance, via):
    """Shorten the paths to rows below n, at no cost, and to all columns, at their price."""
    columns = v.size
    for i in range(row_count.size):
        if row_count[i] < n[0] and reached < distance[columns + i]:
            distance[columns + i], via[columns + i] = reached, slack
    for j in range(columns):
        if reached + v[j] < distance[j]:
            distance[j], via[j] = reached + v[j], slack


@helper
def shortest_path(n, full, over, under, infinity, work):
    """Dijkstra from all nodes with units too many; the node it ends at."""
    add, drop = work.by_row[1], work.by_column[1]
    distance, via, closed = work.nodes[DISTANCE], work.nodes[VIA], work.nodes[CLOSED]
    u, v = potentials(work)
    row_count, column_count = counts(work)
    columns, rows = v.size, u.size
    slack = columns + rows
    column_distance, row_distance = distance[:columns], distance[columns:slack]
    column_via, row_via = via[:columns], via[columns:slack]
    nodes = slack if full else slack + 1
    distance[:] = infinity
    closed[:] = 0
    for j in range(columns):
        if column_count[j] > n[1]:
            distance[j], via[j] = 0, SOURCE
    if not full and over < under:
        distance[slack], via[slack] = 0, SOURCE
    while True:
        k = nearest(distance, closed, nodes)
        reached = distance[k]
        closed[k] = infinity
        if k < columns:
            has_capacity = column_count[k] < n[1]
            if has_capacity and (full or v[k] > 0):
                return k
            from_column(k, reached - v[k], drop, u, row_distance, row_via)
            exit_length = reached if has_capacity else infinity
        elif k < slack:
            i = k - columns
            from_row(i, k, reached + u[i], add, v, column_distance, column_via)
            exit_length = reached + u[i]
        else:
            if over > under:
                return k
            from_slack(n, reached, slack, v, row_count, distance, via)
            continue
        if not full and exit_length < distance[slack]:
            distance[slack], via[slack] = exit_length, k


@helper
def move_unit(end, infinity, x, work):
    """Send a unit along the path that ends at that node, back to its source."""
    q, add, drop, via = work.by_row[0], work.by_row[1], work.by_column[1], work.nodes[VIA]
    row_count, column_count = counts(work)
    rows, columns = q.shape
    slack = columns + rows
    node = end
    if node < columns:
        column_count[node] += 1
    while via[node] != SOURCE:
        before = via[node]
        if node == slack:
            # A row gave the unit up, or a column below n took it.
            if before < columns:
                column_count[before] += 1
            else:
                row_count[before - columns] -= 1
        elif before == slack:
            if node < columns:
                column_count[node] -= 1
            else:
                row_count[node - columns] += 1
        elif node < columns:
            flip(before - columns, node, infinity, q, x, add, drop)
        else:
            flip(node - columns, before, infinity, q, x, add, drop)
        node = before
    if node < columns:
        column_count[node] -= 1


@helper
def move_potentials(length, full, u, v, distance):
    """Make the arcs of the shortest paths as short as 0, and no arc shorter."""
    columns = v.size
    # The slack's own potential stays 0: the others move against it.
    shift = length - distance[columns + u.size]
    if full or shift < 0:
        shift = 0
    for j in range(columns):
        v[j] += max(length - distance[j], 0) - shift
    for i in range(u.size):
        u[i] -= max(length - distance[columns + i], 0) - shift


@helper
def augment(n, full, infinity, x, work):
    """Move every unit to its place along shortest paths; ends with optimal x, u, v."""
    u, v = potentials(work)
    _, column_count = counts(work)
    distance = work.nodes[DISTANCE]
    while True:
        over, under = imbalance(n, full, v, column_count)
        if over == 0 and under == 0:
            return
        end = shortest_path(n, full, over, under, infinity, work)
        move_potentials(distance[end], full, u, v, distance)
        move_unit(end, infinity, x, work)
