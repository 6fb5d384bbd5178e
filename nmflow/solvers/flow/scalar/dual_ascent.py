"""Dual start of ``flow``: thresholds of rows and columns in turn, until both hold n or nearly so.

The primal keeps x = 1; the LP dual has a potential u_i per row and v_j per column, and the reduced
cost ``q_ij - u_i - v_j`` of an entry is >= 0 where it is kept and <= 0 where it is pruned. A
potential between a row's n-th and (n+1)-th largest ``q_ij - v_j`` makes the row keep n; doing so
for rows and columns in turn is coordinate ascent on the dual. On a partial tile potentials are
prices: >= 0, and > 0 only where the row or column is full.

Plain Python over flat arrays; see :mod:`nmflow.solvers.flow.scalar.kernel` for how it runs.
"""

from __future__ import annotations

from nmflow.compiling.jit import helper, unaliased
from nmflow.solvers.flow.scalar.selection_network import order

# Rounds of dual ascent before augmenting, at most.
ROUNDS = 10


@unaliased
def step(q, length, lanes, fixed, moving, n, full, first, network, comparators, wires):
    """Set each lane's potential so that it keeps its n largest scores less potentials.

    It moves half a step beyond the midpoint of two order statistics, kept between them: any
    threshold t with lower <= t < upper keeps the n largest and prunes the rest, and moving past the
    middle in the direction of travel (over-relaxation) balances the columns in fewer rounds.

    Parameters
    ----------
    q, length, lanes : (length * lanes,) integers, int, int
        A lane is a column of it: for the potentials of rows it is the transposed tile.
    fixed, moving : (length,), (lanes,)
        Potentials of the lines that cross the lanes, and of the lanes, which are written.
    n : int
        What each lane keeps.
    first : bool
        Whether the lanes have no potentials to move from.
    network, comparators, wires : see :mod:`selection_network`
    """
    if n >= length:
        for lane in range(lanes):
            moving[lane] = 0
        return
    for k in range(length):
        for lane in range(lanes):
            wires[k * lanes + lane] = q[k * lanes + lane] - fixed[k]
    order(wires, lanes, network, comparators)
    for lane in range(lanes):
        upper, lower = wires[(n - 1) * lanes + lane], wires[n * lanes + lane]
        potential = (upper + lower) >> 1
        if not first:
            potential += (potential - moving[lane]) >> 1
        if potential >= upper:
            potential = upper - 1
        if potential < lower:
            potential = lower
        if not full and potential < 0:
            potential = 0
        moving[lane] = potential


@helper
def step_columns(n, full, first, work):
    """Move the potentials of the columns."""
    step(
        work.q, work.rows, work.columns, work.u, work.v, n[1], full, first, work.column_network,
        work.column_comparators, work.add,
    )  # fmt: skip


@helper
def step_rows(n, full, first, work):
    """Move the potentials of the rows."""
    step(
        work.q_by_column, work.columns, work.rows, work.v, work.u, n[0], full, first,
        work.row_network, work.row_comparators, work.drop,
    )  # fmt: skip


@helper
def misplaced(n, full, work):
    """Units that the positive reduced costs have too many or too few in rows and columns."""
    q, u, v, row_count, column_count = (
        work.q, work.u, work.v, work.row_count, work.column_count,
    )  # fmt: skip
    rows, columns = work.rows, work.columns
    for j in range(columns):
        column_count[j] = 0
    wrong = 0
    for i in range(rows):
        held = 0
        for j in range(columns):
            keep = 1 if q[i * columns + j] - v[j] > u[i] else 0
            held += keep
            column_count[j] += keep
        row_count[i] = held
        if full or u[i] > 0:
            wrong += abs(held - n[0])
    for j in range(columns):
        excess = column_count[j] - n[1]
        if excess > 0:
            wrong += excess
        elif full or v[j] > 0:
            wrong -= excess
    return wrong


@helper
def guess_prices(n, work):
    """Column prices to start from on a partial tile that is not wider than high.

    Prices may not be moved from rows to columns as potentials of a full tile may, so a start
    without prices would have to move most of them in small steps: where there are more rows than
    columns, columns are what is scarce; where there are as many, both are.
    """
    u, v, rows, columns = work.u, work.v, work.rows, work.columns
    for j in range(columns):
        if v[j] != 0:
            return
    for i in range(rows):
        u[i] = 0
    step_columns(n, False, True, work)
    if rows == columns:
        for j in range(columns):
            v[j] >>= 1


@helper
def ascend(n, full, work):
    """Midpoint dual ascent from the potentials v at hand; how many units it left misplaced."""
    if not full and work.rows >= work.columns:
        guess_prices(n, work)
    # One unit too many and one too few: on a large tile a path costs less than another round.
    bearable = 2 if work.rows >= 12 or work.columns >= 12 else 0
    wrong = -1
    for sweep in range(ROUNDS + 1):
        if sweep > 0:
            step_columns(n, full, False, work)
        step_rows(n, full, sweep == 0, work)
        wrong = misplaced(n, full, work)
        if wrong <= bearable:
            break
    return wrong


@helper
def keep_positive(work):
    """Keep the entries of positive reduced cost."""
    q, u, v, kept = work.q, work.u, work.v, work.kept
    columns = work.columns
    for i in range(work.rows):
        for j in range(columns):
            kept[i * columns + j] = q[i * columns + j] - v[j] > u[i]
