"""The mask of JAX weights, by XLA wherever they lie."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from nmflow.errors import NmflowError
from nmflow.lax.solve import solve as solve_by_xla
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName


def solve(
    weights: Any,
    n: int,
    m: int,
    *,
    pattern: PatternName = "transposable",
    axes: tuple[int, int] = (-2, -1),
    score: ScoreName = "abs",
    within: Any = None,
) -> Any:
    """The mask of :func:`nmflow.solve`, bit for bit, found by XLA on the weights' own devices.

    Works inside ``jit``, ``vmap``, ``grad``, ``scan`` and ``shard_map``, without callbacks and
    without 64-bit integers. No gradient goes through it: a mask is constant nearly everywhere.

    Parameters
    ----------
    weights : Array, at least two dimensions
        Traced or not; float16, bfloat16, float32, with JAX's x64 float64, or integers.
    n, m : int
        Keep n of every m, 1 <= n <= m; of transposable patterns m <= 32. Static, as all options.
    pattern : {"transposable", "rows", "columns", "unstructured"}
        As for :func:`nmflow.solve`.
    axes : pair of int, default (-2, -1)
        The two axes that span the matrices; all others are batch. Kernels of Flax's ``Dense`` are
        (in, out), which the default serves; those of its ``Conv`` are (height, width, in, out),
        which it serves too: each of the kernel's positions is a matrix (in, out). Weights laid out
        (out, in, height, width) take ``axes=(0, 1)``.
    score : {"abs", "square", "raw"}
        As for :func:`nmflow.solve`.
    within : bool Array of the shape of ``weights``, optional
        What may be kept, as for :func:`nmflow.solve` with ``at_most=True``: a tile or a group that
        can't be filled so holds at most n.

    Returns
    -------
    mask : bool Array
        Of the weights' shape and sharding; True where an entry is kept.

    Raises
    ------
    NmflowError
        For weights, n, m or options that make no sense, or that XLA can't solve; for a sharding
        that cuts tiles. For NaN or infinity where weights have values: under tracing the tile (or
        group) that holds them gets an empty mask instead, and all others theirs.

    Notes
    -----
    Dual ascent in 32-bit integers proves most tiles. Those that it leaves open are solved by
    shortest augmenting paths in windows of 20 bits of the scores, as many as it takes until the
    mask is proved to be the only optimal one; of exact ties the rule of :mod:`nmflow.problem.ties`
    decides.

    Examples
    --------
    >>> import jax, nmflow.jax
    >>> weights = jax.random.normal(jax.random.key(0), (8, 8))
    >>> mask = jax.jit(lambda w: nmflow.jax.solve(w, 2, 4))(weights)
    >>> mask.sum(axis=0), mask.sum(axis=1)
    (Array([4, 4, 4, 4, 4, 4, 4, 4], dtype=int32), Array([4, 4, 4, 4, 4, 4, 4, 4], dtype=int32))
    """
    array = _as_jax(weights)
    allowed = None if within is None else jnp.asarray(within)
    if allowed is not None and (allowed.shape != array.shape or allowed.dtype != np.bool_):
        raise NmflowError(
            f"within: expected bools of shape {array.shape}, got {allowed.dtype} of shape"
            f" {allowed.shape}"
        )
    return solve_by_xla(array, Pattern(n, m, pattern), axes, score, allowed)


def _as_jax(weights: Any) -> Any:
    """A JAX array of the same values; raise where JAX would round them."""
    array = jnp.asarray(weights)
    if isinstance(weights, np.ndarray) and weights.dtype != array.dtype:
        raise NmflowError(
            f"weights of dtype {weights.dtype} would be rounded to {array.dtype} by JAX: enable its"
            " x64, or use nmflow.solve"
        )
    return array
