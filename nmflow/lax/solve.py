"""JAX weights -> masks: what is checked before, and what JAX has to know of the rest."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from nmflow.errors import NmflowError
from nmflow.lax.levels import LARGEST_M
from nmflow.lax.numbers import bits_of, is_finite, supports
from nmflow.lax.selection import select_matrices
from nmflow.lax.sharding import check_whole, over_shards, sharding_of
from nmflow.lax.squares import square_bits
from nmflow.lax.transposable import Problem, solve_matrices
from nmflow.problem.batch import MatrixBatch, normalise_axes
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName, check_score


def solve(weights: Any, pattern: Pattern, axes: Any, score: ScoreName, within: Any = None) -> Any:
    """The mask of :func:`nmflow.jax.solve`.

    Raises
    ------
    NmflowError
        For what it can't do, saying what that is; and for NaN or infinity, but under tracing.
    """
    reason = why_not(weights, pattern, score)
    if reason is not None:
        raise NmflowError(f"{_describe(weights, pattern)}: {reason}")
    pair = normalise_axes(axes, weights.ndim, lambda: _describe(weights, pattern))
    if (sharding := sharding_of(weights)) is not None:
        check_whole(sharding, weights.shape, pair, pattern, _describe(weights, pattern))
    allowed = () if within is None else (within,)
    mask, finite = _solve(jax.lax.stop_gradient(weights), allowed, pattern, pair, score, sharding)
    if not isinstance(weights, jax.core.Tracer) and not bool(finite):
        # Says which, or that a square is too large.
        MatrixBatch.of(weights, pattern, pair, score).scores((slice(None),))
    return mask


def solve_there(weights: Any, pattern: Pattern, axes: Any, score: ScoreName) -> Any:
    """The mask for :func:`nmflow.solve`; None for what has to go through the host."""
    traced = isinstance(weights, jax.core.Tracer)
    if not traced and why_not(weights, pattern, score) is not None:
        return None
    return solve(weights, pattern, axes, score)


def why_not(weights: Any, pattern: Pattern, score: str) -> str | None:
    """Why these weights can't be solved by XLA; None if they can."""
    check_score(score)
    if weights.ndim < 2:
        return "need at least 2 dimensions; reshape to (out, in)"
    if not supports(weights.dtype.name, score):
        return (
            "XLA solves float16, bfloat16, float32, float64 and integers, of 64 bits without"
            " squares; convert the weights, or use nmflow.solve outside of jit"
        )
    if pattern.name == "transposable" and pattern.m > LARGEST_M:
        return f"XLA solves m <= {LARGEST_M}; use nmflow.solve outside of jit"
    return None


def _describe(weights: Any, pattern: Pattern) -> str:
    return f"weights of shape {weights.shape} and dtype {weights.dtype.name} for {pattern}"


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _solve(
    weights: Any,
    allowed: tuple[Any, ...],
    pattern: Pattern,
    axes: tuple[int, int],
    score: str,
    sharding: Any,
) -> tuple[Any, Any]:
    """The mask, and whether all weights, and their scores, are finite."""
    local = functools.partial(_solve_shard, pattern=pattern, axes=axes, score=score)
    return (local if sharding is None else over_shards(local, sharding))(weights, *allowed)


def _solve_shard(
    weights: Any, *allowed: Any, pattern: Pattern, axes: tuple[int, int], score: str
) -> tuple[Any, Any]:
    moved, dtype = jnp.moveaxis(weights, axes, (-2, -1)), weights.dtype.name
    flat = math.prod(moved.shape[:-2]), *moved.shape[-2:]
    bits = bits_of(moved).reshape(flat)
    may = [jnp.moveaxis(part, axes, (-2, -1)).reshape(flat) for part in allowed]
    if score == "square" and dtype == "float64":
        bits, score = square_bits(bits), "abs"
    mask = _of_matrices(pattern, dtype, score)(bits, *may)
    whole = jnp.moveaxis(mask.reshape(moved.shape), (-2, -1), axes)
    return whole, is_finite(bits, dtype).all()


@functools.cache
def _of_matrices(pattern: Pattern, dtype: str, score: str) -> Any:
    """The function from bits (B, R, C) to masks; what ``vmap`` adds is more of a batch.

    Further bools of that shape say what may be kept.
    """

    @custom_vmap
    def masks(bits: Any, *allowed: Any) -> Any:
        if pattern.name == "transposable":
            return solve_matrices(bits, Problem(pattern.n, pattern.m, dtype, score), *allowed)
        return select_matrices(bits, pattern, dtype, score, *allowed)

    @masks.def_vmap
    def more(size: int, batched: Any, *arrays: Any) -> tuple[Any, bool]:
        every = [
            part if many else jnp.broadcast_to(part, (size, *part.shape))
            for part, many in zip(arrays, batched, strict=True)
        ]
        shape = every[0].shape
        found = masks(*(part.reshape(size * shape[1], *shape[2:]) for part in every))
        return found.reshape(shape), True

    return masks
