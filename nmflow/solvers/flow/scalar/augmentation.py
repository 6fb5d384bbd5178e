"""Successive shortest paths of ``flow``: from columns that hold too many to those that miss some.

Reduced costs q - u - v are >= 0 on kept and <= 0 on pruned entries throughout, so all arc lengths
of the residual network are non-negative and Dijkstra's algorithm applies (Ahuja, Magnanti & Orlin,
Network Flows, 1993, sec. 9.7). Paths alternate: at a column drop a kept entry, at a row add a
pruned one. On a partial tile one more node, the slack node, stands for unused capacity: a row gives
a unit up to it for its price u_i, and takes one for nothing where it holds fewer than n; a column
likewise, the other way round.

Plain Python over flat arrays; see :mod:`nmflow.solvers.flow.scalar.kernel` for how it runs.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper, unaliased

SOURCE = -1


@helper
def arc_costs(infinity, work):
    """Set what it costs to add each pruned entry and to drop each kept one, but for potentials.

    What cannot be done costs 2 * infinity.
    """
    q, kept, add, drop = work.q, work.kept, work.add, work.drop
    rows, columns = work.rows, work.columns
    for i in range(rows):
        for j in range(columns):
            score, here = q[i * columns + j], kept[i * columns + j] != 0
            add[i * columns + j] = (2 * infinity if here else 0) - score
            drop[j * rows + i] = (0 if here else 2 * infinity) + score


@helper
def flip(i, j, infinity, work):
    """Keep a pruned entry, or prune a kept one."""
    rows, columns = work.rows, work.columns
    entry = i * columns + j
    score, keep = work.q[entry], work.kept[entry] == 0
    work.kept[entry] = keep
    work.add[entry] = (2 * infinity if keep else 0) - score
    work.drop[j * rows + i] = (0 if keep else 2 * infinity) + score


@helper
def fill_ties(n, full, infinity, work):
    """Give rows that hold too few their entries of reduced cost 0, emptiest column first."""
    q, u, v, kept = work.q, work.u, work.v, work.kept
    row_count, column_count = work.row_count, work.column_count
    columns = work.columns
    for i in range(work.rows):
        while row_count[i] < n[0] and (full or u[i] > 0):
            best = -1
            for j in range(columns):
                if kept[i * columns + j] or q[i * columns + j] - u[i] - v[j] != 0:
                    continue
                if best < 0 or column_count[j] < column_count[best]:
                    best = j
            flip(i, best, infinity, work)
            row_count[i] += 1
            column_count[best] += 1


@helper
def imbalance(n, full, work):
    """Units that columns hold too many, and units that they miss.

    On a partial tile only a column with a positive price must hold n.
    """
    v, column_count = work.v, work.column_count
    over, under = 0, 0
    for j in range(work.columns):
        excess = column_count[j] - n[1]
        if excess > 0:
            over += excess
        elif full or v[j] > 0:
            under -= excess
    return over, under


@unaliased
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


@unaliased
def shorten(node, base, costs, first, sign, potentials, to, count, distance, via):
    """Shorten the paths that lead on from a row or a column over its entries.

    Parameters
    ----------
    node, base : int
        Where they come from, and its distance less its potential.
    costs, first : array, int
        What the entries cost: ``costs[first:]``.
    sign, potentials
        Those of the nodes that they lead to count with that sign.
    to, count : int
        The first of these nodes, and how many they are.
    """
    for k in range(count):
        reached = base + costs[first + k] + sign * potentials[k]
        old = distance[to + k]
        distance[to + k] = reached if reached < old else old
        via[to + k] = node if reached < old else via[to + k]


@helper
def from_slack(n, reached, slack, work):
    """Shorten the paths to rows below n, at no cost, and to all columns, at their price."""
    v, row_count, distance, via = work.v, work.row_count, work.distance, work.via
    columns = work.columns
    for i in range(work.rows):
        if row_count[i] < n[0] and reached < distance[columns + i]:
            distance[columns + i], via[columns + i] = reached, slack
    for j in range(columns):
        if reached + v[j] < distance[j]:
            distance[j], via[j] = reached + v[j], slack


@helper
def start_paths(n, full, over, under, infinity, work):
    """Paths start at columns with units too many, or where units are not used."""
    distance, via, closed, column_count = (
        work.distance, work.via, work.closed, work.column_count,
    )  # fmt: skip
    slack = work.columns + work.rows
    for k in range(slack + 1):
        distance[k], closed[k] = infinity, 0
    for j in range(work.columns):
        if column_count[j] > n[1]:
            distance[j], via[j] = 0, SOURCE
    if not full and over < under:
        distance[slack], via[slack] = 0, SOURCE


@helper
def shortest_path(n, full, over, under, infinity, work):
    """Dijkstra from all nodes with units too many; the node it ends at."""
    distance, via, closed = work.distance, work.via, work.closed
    u, v, column_count = work.u, work.v, work.column_count
    columns, rows = work.columns, work.rows
    slack = columns + rows
    start_paths(n, full, over, under, infinity, work)
    while True:
        k = nearest(distance, closed, slack if full else slack + 1)
        reached = distance[k]
        closed[k] = infinity
        exit_length = infinity
        if k < columns:
            has_capacity = column_count[k] < n[1]
            if has_capacity and (full or v[k] > 0):
                return k
            base = reached - v[k]
            shorten(k, base, work.drop, k * rows, -1, u, columns, rows, distance, via)
            if has_capacity:
                exit_length = reached
        elif k < slack:
            i = k - columns
            shorten(k, reached + u[i], work.add, i * columns, 1, v, 0, columns, distance, via)
            exit_length = reached + u[i]
        elif over > under:
            return k
        else:
            from_slack(n, reached, slack, work)
        if not full and exit_length < distance[slack]:
            distance[slack], via[slack] = exit_length, k


@helper
def move_unit(end, infinity, work):
    """Send a unit along the path that ends at that node, back to its source."""
    via, row_count, column_count = work.via, work.row_count, work.column_count
    columns = work.columns
    slack = columns + work.rows
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
            flip(before - columns, node, infinity, work)
        else:
            flip(node - columns, before, infinity, work)
        node = before
    if node < columns:
        column_count[node] -= 1


@helper
def move_potentials(length, full, work):
    """Make the arcs of the shortest paths as short as 0, and no arc shorter."""
    u, v, distance = work.u, work.v, work.distance
    columns, rows = work.columns, work.rows
    # The slack's own potential stays 0: the others move against it.
    shift = length - distance[columns + rows]
    if full or shift < 0:
        shift = 0
    for j in range(columns):
        nearer = length - distance[j]
        v[j] += (nearer if nearer > 0 else 0) - shift
    for i in range(rows):
        nearer = length - distance[columns + i]
        u[i] -= (nearer if nearer > 0 else 0) - shift


@helper
def augment(n, full, infinity, work):
    """Move every unit to its place along shortest paths; ends with an optimal mask, u and v."""
    while True:
        over, under = imbalance(n, full, work)
        if over == 0 and under == 0:
            return
        end = shortest_path(n, full, over, under, infinity, work)
        move_potentials(work.distance[end], full, work)
        move_unit(end, infinity, work)
