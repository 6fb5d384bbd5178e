"""Open tiles, exactly: their leading bits, then more of them as long as there are any, then ties.

The steps of :mod:`nmflow.solvers.flow.scalar.solve` and :mod:`nmflow.solvers.flow.scalar.quantise`
in 32-bit integers, on as many open tiles at once as are handed over: each goes on at its own level
until all are proved.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from nmflow.lax.ascent import BITS, LIMIT, ascend, tie_table
from nmflow.lax.folds import count_up
from nmflow.lax.numbers import Numbers
from nmflow.lax.paths import FAR, Flow, augment, start
from nmflow.lax.uniqueness import is_unique
from nmflow.problem.ties import TABLE_BITS, TABLES

FIRST_BITS = 20
"""Bits of a score at first, less the sign."""
MORE_BITS = 13
"""Bits that each further level adds."""
LARGEST_M = 32
# Steps from the potentials that were found: rows come last.
_STEPS = 7
# Potentials start within 4 of the largest score, and each step adds at most 1. So they and
# distances stay below 4 m + 64, and reduced costs below twice that, as scalar/bits.py reckons.
assert LIMIT >> (BITS - FIRST_BITS) <= 4 << FIRST_BITS
assert 4 + _STEPS <= 32
assert (8 * LARGEST_M + 129) << FIRST_BITS < FAR
# What is left of the scores of a level, with its digits.
assert (3 * (LARGEST_M + 1) + 1) << MORE_BITS <= 1 << FIRST_BITS
assert 4 << TABLE_BITS + LARGEST_M.bit_length() <= 1 << FIRST_BITS
# Digits that are left out until they count for as much as any limit.
_MOST_SKIPPED = (LARGEST_M + 1).bit_length()


class State(NamedTuple):
    """K tiles on their way.

    Attributes
    ----------
    q : int32 array, shape (m, m, K)
        Scores in units of 2**unit, rounded down; reduced costs where leading bits are done with.
    flow : Flow
        Whose potentials are to start from.
    unit : int32 array, shape (K,)
    exact : bool array, shape (K,)
        Whether no score has digits below its tile's unit.
    ties : int32 array, shape (K,)
        How many tie tables are in use.
    open : bool array, shape (K,)
        Which tiles are not proved.
    found : bool array, shape (m, m, K)
        The masks of those that are.
    """

    q: Any
    flow: Flow
    unit: Any
    exact: Any
    ties: Any
    open: Any
    found: Any


def solve_levels(
    scores: Numbers, barred: Any, u: Any, v: Any, n: int, full: Any, tiles: Any
) -> Any:
    """The masks of K tiles, shape (m, m, K).

    Parameters
    ----------
    scores : Numbers, shape (m, m, K)
    barred : bool array, shape (m, m, K)
        What partial tiles must not keep: its score, given as 0, is one below 0.
    u, v : int32 arrays, shape (m, K)
        Potentials to start from, as of scores of :data:`nmflow.lax.ascent.BITS` bits.
    n : int
    full, tiles : bool arrays, shape (K,)
        Which tiles are m x m; and which are to be solved: masks of others are empty.
    """
    unit = scores.scale() - FIRST_BITS
    q, lost = scores.floor(unit)
    q = jnp.where(barred, -1, q)
    few = BITS - FIRST_BITS
    none = barred & ~barred
    state = State(q, Flow(none, u >> few, v >> few), unit, ~lost.any((0, 1)), unit * 0, tiles, none)

    def level(state: State) -> State:
        solved = _solve_level(state, n, full)
        flow, still = solved.flow, solved.open
        # A tile that is solved keeps what it has.
        digits, tables = _next_digits(scores, solved, full), _next_tables(solved, full)
        return State(
            jnp.where(state.exact, tables.q, digits.q),
            Flow(flow.mask, *_either(state.exact, tables.flow[1:], digits.flow[1:])),
            jnp.where(state.exact, state.unit, digits.unit),
            state.exact | digits.exact,
            jnp.where(state.exact, tables.ties, 0),
            still,
            solved.found,
        )

    return lax.while_loop(lambda state: state.open.any(), level, state).found


def _either(which: Any, these: Any, those: Any) -> tuple[Any, ...]:
    return tuple(jnp.where(which, one, other) for one, other in zip(these, those, strict=True))


def _solve_level(state: State, n: int, full: Any) -> State:
    """Optimal masks and potentials for the tiles' integers, from their potentials."""
    q, flow = state.q, state.flow
    u, v = ascend(q, n, flow.u, flow.v, _STEPS, jnp.where(full, -FAR, 0), FAR)
    flow = augment(q, start(q, u, v, n, full), n, full, state.open)
    reduced = q - flow.u[:, None] - flow.v[None]
    proved = is_unique(reduced, flow.mask, flow.u, flow.v, n, full, state.exact, state.open)
    found = jnp.where(proved, flow.mask, state.found)
    return state._replace(flow=flow, open=state.open & ~proved, found=found)


def _pose_reduced_costs(state: State, limit: int, first: Any, bits: int, full: Any) -> State:
    """Replace scores by their reduced costs times 2**first, clipped to +- limit, times 2**bits.

    And potentials to match. A change of the mask that meets a limit costs as much, whatever else it
    does; so where what is added below brings less, no optimal mask is lost and none is won.
    """
    u, v = state.flow.u, state.flow.v

    def clipped(lengths: Any) -> Any:
        return jnp.clip(jnp.clip(lengths, -limit, limit) << first, -limit, limit)

    reduced = clipped(state.q - u[:, None] - v[None])
    # Potentials of a full tile may be anything, and 0 are the smallest.
    u, v = (jnp.where(full, 0, clipped(price)) for price in (u, v))
    reduced = reduced + u[:, None] + v[None]
    return state._replace(q=reduced << bits, flow=Flow(state.flow.mask, u << bits, v << bits))


def _next_digits(scores: Numbers, state: State, full: Any) -> State:
    """The same tiles with the next digits, by which a change of the mask gains less than m units.

    Digits that are 0 in all of a tile's scores are passed over: then a unit of before is more.
    """
    m = state.q.shape[0]
    top = scores.below(state.unit)
    skipped = jnp.clip(state.unit - top, 0, _MOST_SKIPPED)
    posed = _pose_reduced_costs(state, m + 1, skipped, MORE_BITS, full)
    unit = jnp.minimum(top, state.unit) - MORE_BITS
    digits, more = scores.digits(unit, MORE_BITS)
    return posed._replace(q=posed.q + digits, unit=unit, exact=~more.any((0, 1)))


def _next_tables(state: State, full: Any) -> State:
    """The choice between the optimal masks of exact scores: of reduced costs the sign counts."""
    m = state.q.shape[0]
    zero = state.ties * 0
    posed = _pose_reduced_costs(state, 1, zero, TABLE_BITS + m.bit_length(), full)
    return posed._replace(q=posed.q + _table(state.ties, m), ties=state.ties + 1)


def _table(index: Any, m: int) -> Any:
    """The tie tables of such numbers (K,), shape (m, m, K); beyond the last, the places in order.

    Those are powers of two, of so many places at a time as a table has bits.
    """
    place = count_up(m * m).reshape(m, m, 1) - TABLE_BITS * (index - TABLES)
    inside = (place >= 0) & (place < TABLE_BITS) & (index >= TABLES)
    entries = jnp.where(inside, 1 << jnp.clip(TABLE_BITS - 1 - place, 0, TABLE_BITS - 1), 0)
    for k in range(TABLES):
        entries = jnp.where(index == k, tie_table(k, m)[:, :, None], entries)
    return entries
