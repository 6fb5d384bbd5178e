"""Whether an optimal mask is the only one, for the scores themselves."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from nmflow.lax.folds import held, least_of_columns, least_of_rows


def is_unique(
    reduced: Any, mask: Any, u: Any, v: Any, n: int, full: Any, exact: Any, active: Any
) -> Any:
    """In which of the active tiles no other mask is optimal, shape (K,).

    Parameters
    ----------
    reduced : int32 array, shape (m, m, K)
        Reduced costs: >= 0 where the mask (m, m, K) keeps, <= 0 where it does not.
    u, v : int32 arrays, shape (m, K)
        Potentials; on a partial tile prices.
    full, exact, active : bool arrays, shape (K,)
        Whether tiles are m x m; whether their scores are integers, or such as integers are floors
        of; whether they are of interest.

    Notes
    -----
    Another mask differs by cycles that add as many entries as they drop, or, on a partial tile, go
    through the slack node. The floor of an entry that a cycle adds is less than one unit below its
    score, so if no cycle pays even with each added entry a unit dearer, no other mask is as good.
    Bellman and Ford's rounds end where there is none. Of exact scores a fraction of a unit is
    added: then they end unless a cycle costs nothing. Entries that a partial tile could do
    without, at no cost, are kept, as the tie tables, which are positive, want them.

    A path adds at most m entries, so labels below -m units betray a cycle that pays, and lengths
    beyond that count no more than m + 1 units: all numbers are small.
    """
    m = mask.shape[0]
    far = m + 1
    unit = jnp.where(exact, 1 << m.bit_length(), 1)
    reduced = jnp.clip(reduced, -far, far) * unit
    never = far * (1 << m.bit_length()) * 4
    drop, add = jnp.where(mask, reduced, never), jnp.where(mask, never, -reduced - 1)
    # Of a full tile the slack node is out of reach.
    row_room, column_room = (jnp.where((held(mask, axis) < n) & ~full, 0, never) for axis in (1, 0))
    u, v = (jnp.where(full, never, jnp.minimum(price, far) * unit) for price in (u, v))

    def shorten(state: tuple[Any, ...]) -> tuple[Any, ...]:
        rows, columns, slack, _, pays = state
        before = columns
        rows = jnp.minimum(rows, least_of_rows(drop, columns))
        columns = jnp.minimum(columns, least_of_columns(add, rows))
        slack = jnp.minimum(slack, jnp.concatenate([columns + column_room, rows + u]).min(0))
        rows = jnp.minimum(rows, slack + row_room)
        columns = jnp.minimum(columns, slack + v)
        pays = pays | (columns < -far).any(0)
        return rows, columns, slack, (columns < before).any(0) & active & ~pays, pays

    zero = u * 0
    state = zero, zero, zero[0], active, active & ~active
    *_, pays = lax.while_loop(lambda state: state[3].any(), shorten, state)
    return active & ~pays
