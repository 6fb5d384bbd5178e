"""Dual start of ``flow``: thresholds of rows and columns in turn, until both hold n or nearly so.

The primal keeps x = 1; the LP dual has a potential u_i per row and v_j per column, and the reduced
cost ``q_ij - u_i - v_j`` of an entry is >= 0 where it is kept and <= 0 where it is pruned. A
potential between a row's n-th and (n+1)-th largest ``q_ij - v_j`` makes the row keep n; doing so
for rows and columns in turn is coordinate ascent on the dual. On a partial tile potentials are
prices: >= 0, and > 0 only where the row or column is full.

Plain Python over arrays; see :mod:`nmflow.solvers.flow.scalar.solve` for how it runs.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper
from nmflow.solvers.flow.scalar.selection_network import order
from nmflow.solvers.flow.scalar.workspace import counts, potentials

# Rounds of dual ascent before augmenting, at most.
ROUNDS = 10


@helper
def relaxed_midpoint(upper, lower, old):
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


@helper
def step(q, fixed, moving, n, full, first, network, wires):
    """Set each lane's potential so that it keeps its n largest scores less potentials.

    Parameters
    ----------
    q : (k, lanes) integers
        A lane is a column of it: for the potentials of rows it is the transposed tile.
    fixed, moving : (k,), (lanes,)
        Potentials of the lines that cross the lanes, and of the lanes, which are written.
    n : int
        What each lane keeps.
    first : bool
        Whether the lanes have no potentials to move from.
    network, wires : see :mod:`selection_network`
    """
    length, lanes = q.shape
    if n >= length:
        moving[:] = 0
        return
    for k in range(length):
        for lane in range(lanes):
            wires[k, lane] = q[k, lane] - fixed[k]
    order(wires, network)
    for lane in range(lanes):
        upper, lower = wires[n - 1, lane], wires[n, lane]
        old = (upper + lower) >> 1 if first else moving[lane]
        potential = relaxed_midpoint(upper, lower, old)
        if not full and potential < 0:
            potential = 0
        moving[lane] = potential


@helper
def misplaced(n, full, q, u, v, row_count, column_count):
    """Units that the positive reduced costs have too many or too few in rows and columns."""
    rows, columns = q.shape
    column_count[:] = 0
    wrong = 0
    for i in range(rows):
        held = 0
        for j in range(columns):
            keep = q[i, j] - v[j] > u[i]
            held += keep
            column_count[j] += keep
        row_count[i] = held
        if full or u[i] > 0:
            wrong += abs(held - n[0])
    for j in range(columns):
        if full or v[j] > 0:
            wrong += abs(column_count[j] - n[1])
        elif column_count[j] > n[1]:
            wrong += column_count[j] - n[1]
    return wrong


@helper
def guess_prices(n, q, u, v, network, wires):
    """Column prices to start from on a partial tile that is not wider than high.

    Prices may not be moved from rows to columns as potentials of a full tile may, so a start
    without prices would have to move most of them in small steps: where there are more rows than
    columns, columns are what is scarce; where there are as many, both are.
    """
    u[:] = 0
    step(q, u, v, n[1], False, True, network, wires)
    if u.size == v.size:
        for j in range(v.size):
            v[j] >>= 1


@helper
def ascend(n, full, work):
    """Midpoint dual ascent from the potentials v at hand; how many units it left misplaced."""
    q, qt, add, drop = work.by_row[0], work.by_column[0], work.by_row[1], work.by_column[1]
    column_network, row_network = work.networks[0], work.networks[1]
    u, v = potentials(work)
    row_count, column_count = counts(work)
    if not full and u.size >= v.size and not v.any():
        guess_prices(n, q, u, v, column_network, add)
    # One unit too many and one too few: on a large tile a path costs less than another round.
    bearable = 2 if max(u.size, v.size) >= 12 else 0
    wrong = -1
    for sweep in range(ROUNDS + 1):
        if sweep:
            step(q, u, v, n[1], full, False, column_network, add)
        step(qt, v, u, n[0], full, sweep == 0, row_network, drop)
        wrong = misplaced(n, full, q, u, v, row_count, column_count)
        if wrong <= bearable:
            break
    return wrong


@helper
def keep_positive(q, u, v, x):
    """Keep the entries of positive reduced cost."""
    for i in range(u.size):
        for j in range(v.size):
            x[i, j] = q[i, j] - v[j] > u[i]


@helper
def arc_costs(infinity, work):
    """Set what it costs to add each pruned entry and to drop each kept one, but for potentials.

    What is kept are the entries of positive reduced cost. What cannot be done costs 2 * infinity.
    """
    q, qt, add, drop = work.by_row[0], work.by_column[0], work.by_row[1], work.by_column[1]
    u, v = potentials(work)
    rows, columns = q.shape
    for i in range(rows):
        for j in range(columns):
            add[i, j] = (2 * infinity if q[i, j] - v[j] > u[i] else 0) - q[i, j]
    for j in range(columns):
        for i in range(rows):
            drop[j, i] = (0 if qt[j, i] - u[i] > v[j] else 2 * infinity) + qt[j, i]


@helper
def flip(i, j, infinity, q, x, add, drop):
    """Keep a pruned entry, or prune a kept one."""
    value = q[i, j]
    x[i, j] = not x[i, j]
    add[i, j] = 2 * infinity - value if x[i, j] else -value
    drop[j, i] = value if x[i, j] else value + 2 * infinity


@helper
def fill_ties(n, full, infinity, x, work):
    """Give rows that hold too few their entries of reduced cost 0, emptiest column first."""
    q, add, drop = work.by_row[0], work.by_row[1], work.by_column[1]
    u, v = potentials(work)
    row_count, column_count = counts(work)
    for i in range(u.size):
        while row_count[i] < n[0] and (full or u[i] > 0):
            best = -1
            for j in range(v.size):
                if x[i, j] or q[i, j] - u[i] - v[j] != 0:
                    continue
                if best < 0 or column_count[j] < column_count[best]:
                    best = j
            flip(i, best, infinity, q, x, add, drop)
            row_count[i] += 1
            column_count[best] += 1
