"""The state that masks are kept in, where it is within an optimizer's, and its freezing."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nmflow.errors import NmflowError
from nmflow.jax.paths import paths_of
from nmflow.jax.schedule import NEVER, Clock


class LastRefresh(NamedTuple):
    """What the last refresh did: arrays, of a row for each mask in the order of the leaves.

    Attributes
    ----------
    refreshes : Array
        How many there were, that at step 0 among them; int32.
    step : Array
        Of the last; int32.
    n : Array
        What each mask keeps of every m; int32, (masks,).
    sad : Array
        Entries of each mask that changed; int32, (masks,).
    kept_score, score : Array
        Sum of the scores kept, and of all; float32, (masks,).
    """

    refreshes: Any
    step: Any
    n: Any
    sad: Any
    kept_score: Any
    score: Any


class SparsifyState(NamedTuple):
    """The state of :func:`nmflow.jax.sparsify`, all of it arrays.

    Attributes
    ----------
    clock : Clock
        ``step``, ``next_refresh``, ``interval`` and ``until``, in optimizer steps.
    masks : pytree
        Of the structure of the parameters: a bool array of the parameter's shape, or None where a
        parameter is dense.
    last : LastRefresh
        See :func:`nmflow.jax.statistics`.
    inner_state : pytree
        Of the transformation that was wrapped.
    allowed : pytree
        As ``masks``: what may be kept, with ``keep_zeros``; else None.
    """

    clock: Clock
    masks: Any
    last: LastRefresh
    inner_state: Any
    allowed: Any = None


def states_in(opt_state: Any) -> list[SparsifyState]:
    """The states of sparsify anywhere in an optimizer's state.

    Parameters
    ----------
    opt_state : pytree
        As ``optax.chain``, ``MultiSteps``, ``multi_transform``, ``masked``, ``apply_if_finite`` or
        ``inject_hyperparams`` nest them, or as ``nnx.Optimizer`` holds them.

    Raises
    ------
    NmflowError
        If there is none.
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, SparsifyState))
    found = [node for node in nodes if isinstance(node, SparsifyState)]
    if not found:
        raise NmflowError(
            "no state of nmflow.jax.sparsify in this optimizer state: initialise it with"
            " sparsify(tx, n, m).init(params), and restore checkpoints into such a state"
        )
    return found


def masks(opt_state: Any) -> dict[str, Any]:
    """The masks, by the paths of their parameters.

    Parameters
    ----------
    opt_state : pytree
        With the state of :func:`nmflow.jax.sparsify` anywhere in it.

    Returns
    -------
    dict of str to Array
        Bool, of the parameters' shapes; dense parameters are not in it.

    Raises
    ------
    NmflowError
        If there is no such state.
    """
    return _by_path(state.masks for state in states_in(opt_state))


def allowed_in(opt_state: Any) -> dict[str, Any]:
    """What masks may keep, by path, where that is not all."""
    return _by_path(state.allowed for state in states_in(opt_state))


def _by_path(trees: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tree in trees:
        names, leaves, _ = paths_of(tree)
        found |= zip(names, leaves, strict=True)
    return found


def masks_for(params: Any, opt_state: Any) -> tuple[list[Any], list[Any], Any]:
    """The leaves of parameters, the mask of each or None, and the structure.

    Raises
    ------
    NmflowError
        If a mask has no parameter, or one of another shape.
    """
    known = masks(opt_state)
    names, leaves, structure = paths_of(params)
    places = dict(zip(names, leaves, strict=True))
    for name, mask in known.items():
        if name not in places:
            near = difflib.get_close_matches(name, names, 3, 0) or ["none"]
            raise NmflowError(
                f"there is a mask for {name!r}, which is not in these parameters; the nearest are"
                f" {', '.join(map(repr, near))}: hand over the tree that init was given"
            )
        if places[name].shape != mask.shape:
            raise NmflowError(
                f"the mask of {name!r} has shape {mask.shape}, the parameter"
                f" {places[name].shape}: hand over the tree that init was given"
            )
    return leaves, [known.get(name) for name in names], structure


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
