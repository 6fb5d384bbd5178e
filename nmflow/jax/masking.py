"""Masks put on parameters: for the forward pass, and for good."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from nmflow.jax.state import masks_for


def apply_masks(params: Any, opt_state: Any) -> Any:
    """The parameters that the model is to compute with, 0 where pruned; straight-through.

    Call it within the function that is differentiated. The gradient of the masked parameter goes
    to the dense one as it is, pruned entries included.

    Parameters
    ----------
    params : pytree
        What ``init`` was given, or a module of NNX or Equinox that holds it.
    opt_state : pytree
        With the state of :func:`sparsify` anywhere in it.

    Returns
    -------
    pytree
        As ``params``, of the same dtypes; what has no mask is the same array. Of a module of NNX a
        new one: what it changes of itself, such as batch statistics, is to be taken from there.

    Raises
    ------
    NmflowError
        If there is no such state, or a mask has no parameter of its path and shape.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, optax, nmflow.jax
    >>> params = {"kernel": jax.random.normal(jax.random.key(0), (8, 8))}
    >>> tx = nmflow.jax.sparsify(optax.sgd(0.1), 2, 4)
    >>> state = tx.init(params)
    >>> int((nmflow.jax.apply_masks(params, state)["kernel"] != 0).sum())
    32
    >>> gradient = jax.grad(lambda p: nmflow.jax.apply_masks(p, state)["kernel"].sum())(params)
    >>> int(gradient["kernel"].sum())
    64
    """
    return _masked(params, opt_state, _straight_through)


def sparse_params(params: Any, opt_state: Any) -> Any:
    """The parameters to evaluate and to export: +0 where pruned, for good.

    Parameters
    ----------
    params, opt_state
        As for :func:`apply_masks`.

    Returns
    -------
    pytree
        As ``params``. Its gradient is 0 where pruned.

    Raises
    ------
    NmflowError
        As for :func:`apply_masks`.
    """
    return _masked(params, opt_state, keep)


def _masked(params: Any, opt_state: Any, put: Any) -> Any:
    leaves, found, structure = masks_for(params, opt_state)
    pairs = zip(leaves, found, strict=True)
    return structure.unflatten(leaf if mask is None else put(leaf, mask) for leaf, mask in pairs)


def keep(weight: Any, mask: Any) -> Any:
    """The weight, +0 where the mask is False."""
    return jnp.where(mask, weight, jnp.zeros((), weight.dtype))


@jax.custom_jvp
def _straight_through(weight: Any, mask: Any) -> Any:
    return keep(weight, mask)


@_straight_through.defjvp
def _derivative(primals: Any, tangents: Any) -> Any:
    return _straight_through(*primals), tangents[0]
