"""Successive shortest paths of ``flow``: from where units are too many to where they are missing.

Slacks q - u - v are >= 0 on kept and <= 0 on pruned entries throughout, so all arc lengths of the
residual network are non-negative and Dijkstra's algorithm applies (Ahuja, Magnanti & Orlin,
Network Flows, 1993, sec. 9.7). Paths alternate: at a column drop a kept entry, at a row add a
pruned one. On a partial tile one more node, the slack, stands for capacity left unused: a row
gives a unit up to it for its price u_i, and takes one for nothing where it holds fewer than n;
a column likewise, the other way round.

Plain Python over arrays; see :mod:`nmflow.kernels.flow` for how it runs.
"""

from __future__ import annotations

from numba.extending import register_jitable

from nmflow.kernels.dual_ascent import flip

SOURCE = -1


@register_jitable
def missing(j, n, full, work):
    """Whether column j must hold more: on a partial tile only a column with a price must."""
    return work.column_count[j] < n and (full or work.v[j] > 0)


@register_jitable
def balance(n, full, work):
    """Units that columns hold too many, and units that they miss."""
    over, under = 0, 0
    for j in range(work.v.size):
        excess = work.column_count[j] - n
        if excess > 0:
            over += excess
        elif missing(j, n, full, work):
            under -= excess
    return over, under


@register_jitable
def nearest(nodes, work):
    """The nearest node whose distance is not final."""
    distance, closed = work.distance, work.closed
    best = distance[0] + closed[0]
    for k in range(nodes):
        reached = distance[k] + closed[k]
        best = reached if reached < best else best
    for k in range(nodes):
        if distance[k] + closed[k] == best:
            return k
    return -1


@register_jitable
def relax(base, node, costs, potential, sign, distance, via):
    """Shorten the way to the nodes on one side by way of a node on the other."""
    for k in range(costs.size):
        reached = base + costs[k] + (potential[k] if sign else -potential[k])
        old = distance[k]
        distance[k] = reached if reached < old else old
        via[k] = node if reached < old else via[k]


@register_jitable
def shorten(reached, node, k, work):
    """The same for a single node."""
    if reached < work.distance[k]:
        work.distance[k], work.via[k] = reached, node


@register_jitable
def relax_slack(n, reached, work):
    """The same by way of the slack: rows with room, and all columns at their price."""
    columns, rows = work.v.size, work.u.size
    for i in range(rows):
        if work.row_count[i] < n:
            shorten(reached, columns + rows, columns + i, work)
    for j in range(columns):
        shorten(reached + work.v[j], columns + rows, j, work)


@register_jitable
def shortest_path(n, full, over, under, infinity, work):
    """Dijkstra from all nodes with units too many; the node it ends at."""
    columns, rows = work.v.size, work.u.size
    slack = columns + rows
    distance = work.distance
    distance[:] = infinity
    work.closed[:] = 0
    for j in range(columns):
        if work.column_count[j] > n:
            distance[j], work.via[j] = 0, SOURCE
    if not full and over < under:
        distance[slack], work.via[slack] = 0, SOURCE
    while True:
        k = nearest(slack if full else slack + 1, work)
        reached = distance[k]
        work.closed[k] = infinity
        if k < columns:
            if missing(k, n, full, work):
                return k
            relax(
                reached - work.v[k], k, work.drop[k], work.u, False, work.row_distance, work.row_via
            )
            if not full and work.column_count[k] < n:
                shorten(reached, k, slack, work)
        elif k < slack:
            i = k - columns
            relax(
                reached + work.u[i],
                k,
                work.add[i],
                work.v,
                True,
                work.column_distance,
                work.column_via,
            )
            if not full:
                shorten(reached + work.u[i], k, slack, work)
        else:
            if over > under:
                return k
            relax_slack(n, reached, work)


@register_jitable
def move_unit(end, infinity, x, work):
    """Send a unit along the path that ends at that node, back to its source."""
    columns, rows = work.v.size, work.u.size
    slack = columns + rows
    node = end
    if node < columns:
        work.column_count[node] += 1
    while work.via[node] != SOURCE:
        before = work.via[node]
        if node == slack:
            # A row gave the unit up, or a column with room took it.
            if before < columns:
                work.column_count[before] += 1
            else:
                work.row_count[before - columns] -= 1
        elif before == slack:
            if node < columns:
                work.column_count[node] -= 1
            else:
                work.row_count[node - columns] += 1
        elif node < columns:
            flip(before - columns, node, infinity, x, work)
        else:
            flip(node - columns, before, infinity, x, work)
        node = before
    if node < columns:
        work.column_count[node] -= 1


@register_jitable
def move_potentials(length, full, work):
    """Make the arcs of the shortest paths as short as 0, and no arc shorter."""
    columns, rows = work.v.size, work.u.size
    distance = work.distance
    # The slack's own potential stays 0: the others move against it.
    shift = length - distance[columns + rows]
    if full or shift < 0:
        shift = 0
    for j in range(columns):
        if distance[j] < length:
            work.v[j] += length - distance[j]
        work.v[j] -= shift
    for i in range(rows):
        if distance[columns + i] < length:
            work.u[i] -= length - distance[columns + i]
        work.u[i] += shift


@register_jitable
def augment(n, full, infinity, x, work):
    """Move every unit to its place along shortest paths; ends with optimal x, u, v."""
    while True:
        over, under = balance(n, full, work)
        if over == 0 and under == 0:
            return
        end = shortest_path(n, full, over, under, infinity, work)
        move_potentials(work.distance[end], full, work)
        move_unit(end, infinity, x, work)
