"""Bits of weights -> masks: the ascent on all tiles, chunk by chunk, then what it left open."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nmflow.lax.ascent import BITS, ascend, fold_table, rounds, separates
from nmflow.lax.ascent import LIMIT as ASCENT_LIMIT
from nmflow.lax.levels import LARGEST_M as LARGEST_M
from nmflow.lax.levels import solve_levels
from nmflow.lax.numbers import Numbers, is_finite, scores_of
from nmflow.lax.tiles import by_regions, one_by_one, padded, side_by_side


class Problem(NamedTuple):
    """What is asked of tiles, all of it static.

    Attributes
    ----------
    n, m : int
    dtype : str
        Of the weights whose bits are given.
    score : str
    """

    n: int
    m: int
    dtype: str
    score: str


class Chunks(NamedTuple):
    """How many tiles are in work at a time: in the ascent, and of those that it leaves open."""

    ascent: int
    open: int


# What a processor's cache holds; an accelerator is filled.
_CHUNKS_CPU, _CHUNKS = Chunks(128, 64), Chunks(1 << 16, 1 << 12)


def solve_matrices(bits: Any, problem: Problem) -> Any:
    """Transposable masks of matrices (B, R, C), given by the bits of their weights.

    Tiles with NaN or infinity get empty masks.
    """
    return by_regions(bits, problem.m, functools.partial(_solve_tiles, problem))


def _solve_tiles(problem: Problem, tiles: Any, full: bool) -> Any:
    n, m, dtype, score = problem
    finite = is_finite(tiles, dtype).all((1, 2))
    tiles = jnp.where(finite[:, None, None], tiles, 0)
    if n >= max(tiles.shape[1:]):
        # The groups constrain nothing.
        mask = jnp.ones(tiles.shape, jnp.bool_)
        if not full:
            mask = ~scores_of(tiles, dtype, score).below_zero
        return mask & finite[:, None, None]
    chunks = _CHUNKS_CPU if jax.default_backend() == "cpu" else _CHUNKS
    count = len(tiles)
    if full:
        tiles = _multiple(tiles, min(chunks.ascent, count))
        mask, proved, u, v = _ascend_all(problem, tiles, min(chunks.ascent, count))
        inside = jnp.arange(len(tiles)) < count
        open_tiles = ~proved & inside & _multiple(finite, min(chunks.ascent, count))
    else:
        mask = tiles != tiles  # noqa: PLR0124
        u = v = jnp.zeros((count, m), jnp.int32)
        open_tiles = finite
    mask = _solve_open(problem, full, tiles, (u, v), open_tiles, mask, min(chunks.open, count))
    return mask[:count] & finite[:, None, None]


def _multiple(array: Any, chunk: int) -> Any:
    """Padded with zeros to a multiple of a chunk."""
    missing = -len(array) % chunk
    return jnp.pad(array, ((0, missing), *((0, 0),) * (array.ndim - 1)))


def _ascend_all(problem: Problem, tiles: Any, chunk: int) -> tuple[Any, Any, Any, Any]:
    """Masks of full tiles (T, m, m), which are proved, and potentials (T, m)."""

    def one_chunk(part: Any) -> tuple[Any, Any, Any, Any]:
        scores = scores_of(side_by_side(part), problem.dtype, problem.score)
        q, lost = scores.floor(scores.scale() - BITS)
        q = fold_table(q, lost)
        zero = q[0] * 0
        start = zero + (1 << BITS - 1), zero
        u, v = ascend(q, problem.n, *start, rounds(problem.m), True, ASCENT_LIMIT)
        mask, proved = separates(q, problem.n, u, v)
        return one_by_one(mask), proved, u.T, v.T

    found = lax.map(one_chunk, tiles.reshape(-1, chunk, *tiles.shape[1:]))
    return tuple(part.reshape(-1, *part.shape[2:]) for part in found)  # type: ignore[return-value]


def _solve_open(
    problem: Problem,
    full: bool,
    tiles: Any,
    potentials: tuple[Any, Any],
    open_tiles: Any,
    mask: Any,
    chunk: int,
) -> Any:
    """Masks (T, r, c) with those of the open tiles written, a chunk of them at a time."""
    n, m, dtype, score = problem
    count, r, c = tiles.shape
    left = open_tiles.astype(jnp.int32).sum()
    # Beyond the last open tile an index that is out of bounds, to which nothing is written.
    order = jnp.nonzero(open_tiles, size=count + -count % chunk, fill_value=count)[0]

    def one_chunk(state: tuple[Any, Any]) -> tuple[Any, Any]:
        first, mask = state
        which = lax.dynamic_slice_in_dim(order, first, chunk)
        values = side_by_side(tiles.at[which].get(mode="clip"))
        u, v = (part.at[which].get(mode="clip").T for part in potentials)
        scores, barred = scores_of(values, dtype, score), None
        if not full:
            barred = padded(scores.below_zero, m) | _outside(r, c, m)
            parts = tuple(padded(limb, m) for limb in scores.limbs)
            scores = Numbers(parts, padded(scores.exponent, m), None).without(barred)
        found = solve_levels(scores, barred, u, v, n, full, which < count)
        found = one_by_one(found[:r, :c])
        return first + chunk, mask.at[which].set(found, mode="drop")

    return lax.while_loop(lambda state: state[0] < left, one_chunk, (left * 0, mask))[1]


def _outside(r: int, c: int, m: int) -> Any:
    """What a partial tile has no entry for."""
    inside = jnp.zeros((m, m, 1), jnp.bool_).at[:r, :c].set(True)
    return ~inside
