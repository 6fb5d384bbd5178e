"""Shortest augmenting paths, one in each unbalanced tile at a time, by Bellman and Ford's rounds.

The algorithm of :mod:`nmflow.solvers.flow.scalar.augmentation`, which also says what the slack node
of partial tiles is. Lengths are reduced costs, which are never negative. Rounds keep no
predecessors, only in which of them each node's distance became what it is: a node's predecessor is
any along whose arc the distance fits and whose own is older, so that they form no circle.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from nmflow.lax.folds import count_up, held, least_of_columns, least_of_rows, total

FAR = 1 << 29
"""A length that no path has; twice it still fits 32 bits."""
SOURCE = -1


class Flow(NamedTuple):
    """Masks with potentials: q >= u + v where kept, <= where pruned.

    Attributes
    ----------
    mask : bool array, shape (m, m, K)
    u, v : int32 arrays, shape (m, K)
        Potentials of rows and columns.
    """

    mask: Any
    u: Any
    v: Any


class Nodes(NamedTuple):
    """Something for each column and row (m, K), and for the slack node (1, K)."""

    columns: Any
    rows: Any
    slack: Any


def start(q: Any, u: Any, v: Any, n: int, full: Any) -> Flow:
    """Masks whose rows obey complementary slackness, from potentials between the two ranks.

    Of entries at a row's potential itself, n are kept from the diagonal on, so that constant tiles
    are balanced at once. Partial rows with a price of 0 may hold fewer than n.
    """
    reduced = q - v[None] - u[:, None]
    mask, ties = reduced > 0, (reduced == 0).astype(jnp.int32)
    missing = jnp.where(full | (u > 0), n - held(mask, 1), 0)
    so_far = jnp.cumsum(ties, axis=1, dtype=jnp.int32)
    diagonal = count_up(q.shape[0])
    before = (so_far - ties)[diagonal, diagonal]
    after = diagonal[None, :, None] >= diagonal[:, None, None]
    place = so_far - before[:, None] + jnp.where(after, 0, so_far[:, -1:])
    return Flow(mask | ((ties > 0) & (place <= missing[:, None])), u, v)


def imbalance(flow: Flow, n: int, full: Any) -> tuple[Any, Any]:
    """Units that each column holds too many, and those that it misses, (m, K).

    On a partial tile only a column with a price must hold n.
    """
    excess = held(flow.mask, 0) - n
    missing = jnp.maximum(-excess, 0)
    return jnp.maximum(excess, 0), jnp.where(full | (flow.v > 0), missing, 0)


def augment(q: Any, flow: Flow, n: int, full: Any, active: Any) -> Flow:
    """Move every unit to its place along shortest paths; ends with optimal masks, u and v.

    Parameters
    ----------
    q : int32 array, shape (m, m, K)
    flow : Flow
        Complementary slackness holds in its rows, as after :func:`start`.
    full, active : bool arrays, shape (K,)
        Which tiles are m x m, and which count: others are left in some such state.
    """

    def units(flow: Flow) -> tuple[Any, Any]:
        over, under = imbalance(flow, n, full)
        return jnp.where(active, total(over), 0), jnp.where(active, total(under), 0)

    def unbalanced(state: tuple[Flow, Any, Any]) -> Any:
        return (state[1] + state[2] > 0).any()

    def move(state: tuple[Flow, Any, Any]) -> tuple[Flow, Any, Any]:
        flow = move_units(q, *state, n, full)
        return flow, *units(flow)

    balanced, *_ = lax.while_loop(unbalanced, move, (flow, *units(flow)))
    return Flow(*balanced)


def move_units(q: Any, flow: Flow, over: Any, under: Any, n: int, full: Any) -> Flow:
    """One unit in each tile that holds units too many, or misses some."""
    excess, missing = imbalance(flow, n, full)
    sources = Nodes((excess > 0) & (over > 0), excess < 0, (over < under)[None])
    # A full tile has as many units too many as it misses.
    ends = Nodes(missing > 0, None, (over > under)[None])
    arcs = _Arcs.of(q, flow, n, full)
    distance, time = _shortest(arcs, sources, ends)
    reached = _at_ends(distance, ends)
    length = _nearest(reached)
    shorter = Nodes(*(jnp.maximum(length - part, 0) for part in distance))
    # The slack's own potential stays 0: the others move against it.
    shift = shorter.slack
    via = _predecessors(arcs, distance, time)
    is_end = jnp.concatenate([reached.columns, reached.columns * 0 + FAR, reached.slack]) == length
    mask = flow.mask ^ _on_path(via, is_end & (length < FAR))
    return Flow(mask, flow.u - shorter.rows + shift, flow.v + shorter.columns - shift)


class _Arcs(NamedTuple):
    """Lengths in the residual network of each tile: reduced costs, or FAR."""

    drop: Any
    add: Any
    row_to_slack: Any
    column_to_slack: Any
    slack_to_row: Any
    slack_to_column: Any

    @classmethod
    def of(cls, q: Any, flow: Flow, n: int, full: Any) -> _Arcs:
        mask, u, v = flow
        reduced = q - u[:, None] - v[None]
        # Of a full tile the slack node is out of reach.
        row_room, column_room = (
            jnp.where((held(mask, axis) < n) & ~full, 0, FAR) for axis in (1, 0)
        )
        u, v = (jnp.where(full, FAR, price) for price in (u, v))
        drop, add = jnp.where(mask, reduced, FAR), jnp.where(mask, FAR, -reduced)
        return cls(drop, add, u, column_room, row_room, v)


def _at_ends(distance: Nodes, ends: Nodes) -> Nodes:
    columns = jnp.where(ends.columns, distance.columns, FAR)
    return Nodes(columns, None, jnp.where(ends.slack, distance.slack, FAR))


def _nearest(reached: Nodes) -> Any:
    """The smallest distance of an end, (K,)."""
    return jnp.minimum(reached.columns.min(0), reached.slack[0])


def _shortest(arcs: _Arcs, sources: Nodes, ends: Nodes) -> tuple[Nodes, Nodes]:
    """Distances from the sources, as far as the nearest end, and when each became what it is."""

    def shorten(state: tuple[Nodes, Nodes, Any, Any]) -> tuple[Nodes, Nodes, Any, Any]:
        distance, time, _, now = state
        # What is not nearer than an end is on no path to one that counts.
        cap = _nearest(_at_ends(distance, ends))

        def nearer(old: Any, when: Any, length: Any, later: int) -> tuple[Any, Any]:
            shorter = length < jnp.minimum(old, cap)
            return jnp.where(shorter, length, old), jnp.where(shorter, now + later, when)

        columns, rows, slack = zip(distance, time, strict=True)
        rows = nearer(*rows, least_of_rows(arcs.drop, columns[0]), 0)
        lengths = columns[0] + arcs.column_to_slack, rows[0] + arcs.row_to_slack
        slack = nearer(*slack, jnp.concatenate(lengths).min(0, keepdims=True), 1)
        rows = nearer(*rows, slack[0] + arcs.slack_to_row, 2)
        columns = nearer(*columns, slack[0] + arcs.slack_to_column, 3)
        columns = nearer(*columns, least_of_columns(arcs.add, rows[0]), 4)
        times = Nodes(columns[1], rows[1], slack[1])
        changed = jnp.concatenate(times).max() >= now
        return Nodes(columns[0], rows[0], slack[0]), times, changed, now + 5

    columns, slack = (jnp.where(part, 0, FAR) for part in (sources.columns, sources.slack))
    first = Nodes(columns, columns * 0 + FAR, slack)
    never = Nodes(*(part * 0 for part in first))
    state = first, never, sources.columns.any() | sources.slack.any(), never.slack[0, 0] + 1
    distance, time, *_ = lax.while_loop(lambda state: state[2], shorten, state)
    return distance, time


def _predecessors(arcs: _Arcs, distance: Nodes, time: Nodes) -> Any:
    """The node before each of columns, rows and slack, (2 m + 1, K); SOURCE where there is none."""
    m = len(distance.columns)
    rows = columns = jnp.full_like(distance.columns, SOURCE)
    slack = jnp.full_like(distance.slack, SOURCE)

    def tell(via: Any, fits: Any, older: Any, node: int) -> Any:
        return jnp.where(fits & older, node, via)

    for k in range(m):
        column, at = distance.columns[k], time.columns[k]
        rows = tell(rows, column + arcs.drop[:, k] == distance.rows, at < time.rows, k)
        slack = tell(slack, column + arcs.column_to_slack[k] == distance.slack, at < time.slack, k)
        row, at = distance.rows[k], time.rows[k]
        columns = tell(columns, row + arcs.add[k] == distance.columns, at < time.columns, m + k)
        slack = tell(slack, row + arcs.row_to_slack[k] == distance.slack, at < time.slack, m + k)
    out = distance.slack + arcs.slack_to_row == distance.rows
    rows = tell(rows, out, time.slack < time.rows, 2 * m)
    out = distance.slack + arcs.slack_to_column == distance.columns
    columns = tell(columns, out, time.slack < time.columns, 2 * m)
    return jnp.concatenate([columns, rows, slack])


def _on_path(via: Any, ends: Any) -> Any:
    """The entries (m, m, K) that the paths to the first of the ends (2 m + 1, K) add and drop."""
    m = len(via) // 2
    number = count_up(len(via))[:, None]
    node = jnp.where(ends, number, len(via)).min(0)

    def step(state: tuple[Any, Any]) -> tuple[Any, Any]:
        node, on_path = state
        here = number == node
        return total(jnp.where(here, via, 0)) + jnp.where(here.any(0), 0, node), on_path | here

    def going(state: tuple[Any, Any]) -> Any:
        return ((state[0] != SOURCE) & (state[0] < len(via))).any()

    _, on_path = lax.while_loop(going, step, (node, ends & ~ends))
    before = jnp.where(on_path, via, SOURCE)
    into_columns, into_rows = before[:m], before[m : 2 * m]
    line = count_up(m)
    added = into_columns[None] == m + line[:, None, None]
    dropped = into_rows[:, None] == line[None, :, None]
    return added ^ dropped
