"""Dual start of ``flow``: thresholds of rows and columns in turn, until both hold n or nearly so.

The primal keeps x = 1; the LP dual has a potential u_i per row and v_j per column, and the slack
``q_ij - u_i - v_j`` of an entry is >= 0 where it is kept and <= 0 where it is pruned. A potential
between a row's n-th and (n+1)-th largest ``q_ij - v_j`` makes the row keep n; doing so for rows
and columns in turn is coordinate ascent on the dual.

Plain Python over arrays; see :mod:`nmflow.kernels.flow` for how it runs.
"""

from __future__ import annotations

from numba.extending import register_jitable

# Rounds of dual ascent before augmenting: fewer leave more units to move along paths.
ROUNDS = 4


@register_jitable
def select(values, n, length):
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


@register_jitable
def row_step(q, n, u, v, work):
    """Set each row's potential so that the row keeps its n largest slacks."""
    rows, columns = q.shape
    for i in range(rows):
        for j in range(columns):
            work.values[j] = q[i, j] - v[j]
        upper, lower = select(work.values, n, columns)
        u[i] = relaxed_midpoint(upper, lower, u[i])


@register_jitable
def column_step(q, n, u, v, work):
    """The same for columns."""
    rows, columns = q.shape
    for j in range(columns):
        for i in range(rows):
            work.values[i] = q[i, j] - u[i]
        upper, lower = select(work.values, n, rows)
        v[j] = relaxed_midpoint(upper, lower, v[j])


@register_jitable
def threshold(q, n, u, v, x, work):
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
def ascend(q, n, u, v, x, work):
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
def fill_ties(q, n, u, v, x, work):
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
def relax_columns(q, n, u, v, x, work):
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
