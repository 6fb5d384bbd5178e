"""Masks frozen, and let go again, in the state that they are kept in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nmflow.jax.schedule import NEVER, Clock
from nmflow.jax.state import SparsifyState, states_in


def freeze(opt_state: Any) -> Any:
    """The state with its masks frozen as they are, at any time; under ``jit`` too.

    The next updates make parameters exactly 0 where pruned, and pruned entries learn no more, as
    after a policy's ``until``. Masks that keep everything, since the policy has not begun, go on
    doing so.

    Parameters
    ----------
    opt_state : pytree
        With the state of :func:`sparsify` anywhere in it.

    Returns
    -------
    pytree
        As ``opt_state``, for the same transformation, which is not compiled anew.

    Raises
    ------
    NmflowError
        If there is no such state.
    """
    return _with_clocks(opt_state, lambda clock: clock._replace(until=clock.step))


def unfreeze(opt_state: Any) -> Any:
    """The state with masks that follow the parameters again; the next update finds them.

    Refreshes then go on by the policy of whatever transformation the state is handed to, without
    its end; that of another policy, such as ``sparsify(tx, 4, 8, refresh=1)``, takes it too. A
    transformation with ``refresh=None`` never finds masks anew.

    Parameters
    ----------
    opt_state : pytree
        With the state of :func:`sparsify` anywhere in it.

    Returns
    -------
    pytree
        As ``opt_state``.

    Raises
    ------
    NmflowError
        If there is no such state.

    Examples
    --------
    >>> import jax, optax, nmflow.jax
    >>> params = {"kernel": jax.random.normal(jax.random.key(0), (8, 8))}
    >>> tx = nmflow.jax.sparsify(optax.sgd(0.1), 2, 4, refresh=nmflow.jax.Refresh(until=1000))
    >>> state = nmflow.jax.freeze(tx.init(params))
    >>> _, state = tx.update(params, nmflow.jax.unfreeze(state), params)
    >>> int(nmflow.jax.statistics(state).step)
    1
    """

    def resumed(clock: Clock) -> Clock:
        return clock._replace(next_refresh=clock.step + 1, until=jnp.full_like(clock.until, NEVER))

    return _with_clocks(opt_state, resumed)


def _with_clocks(opt_state: Any, change: Callable[[Clock], Clock]) -> Any:
    states_in(opt_state)

    def changed(node: Any) -> Any:
        if not isinstance(node, SparsifyState):
            return node
        # Of its own: a buffer that is in a state twice can't be donated.
        return node._replace(clock=jax.tree.map(jnp.array, change(node.clock)))

    return jax.tree.map(changed, opt_state, is_leaf=lambda node: isinstance(node, SparsifyState))
