"""Bits of weights -> masks: the ascent on all full tiles, chunk by chunk, then what is left."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nmflow.lax.ascent import BITS, LIMIT, ascend, fold_table, rounds, separates
from nmflow.lax.folds import count_up, total
from nmflow.lax.levels import solve_levels
from nmflow.lax.numbers import is_finite, scores_of
from nmflow.lax.tiles import one_by_one, padded, regions, side_by_side


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


class _Open(NamedTuple):
    """Tiles that are to be solved exactly: padded to (T, m, m), their own shapes, and a start.

    Attributes
    ----------
    tiles : integer array, shape (T, m, m)
        Bits of weights.
    sizes : int32 array, shape (T, 2)
        Rows and columns.
    u, v : int32 arrays, shape (T, m)
    open : bool array, shape (T,)
    mask : bool array, shape (T, m, m)
        The masks of those that are not open.
    """

    tiles: Any
    sizes: Any
    u: Any
    v: Any
    open: Any
    mask: Any


def solve_matrices(bits: Any, problem: Problem) -> Any:
    """Transposable masks of matrices (B, R, C), given by the bits of their weights.

    Tiles with NaN or infinity get empty masks.
    """
    if not bits.size:
        return jnp.zeros(bits.shape, jnp.bool_)
    parts = regions(bits.shape[1], bits.shape[2], problem.m)
    flat = [region for band in parts for region in band]
    cut = [region.cut(bits) for region in flat]
    tiles = _join([padded(some, problem.m) for some in cut])
    finite = is_finite(tiles, problem.dtype).all((1, 2))
    tiles = jnp.where(finite[:, None, None], tiles, jnp.zeros_like(tiles))
    ends = list(itertools.accumulate(len(some) for some in cut))
    spans = [slice(end - len(some), end) for end, some in zip(ends, cut, strict=True)]
    posed = [
        _pose(problem, region.tile, tiles[span]) for region, span in zip(flat, spans, strict=True)
    ]
    sizes, u, v, still_open, mask = (_join(some) for some in zip(*posed, strict=True))
    if any(problem.n < max(region.tile) for region in flat):
        mask = _solve_open(problem, _Open(tiles, sizes, u, v, still_open & finite, mask))
    mask = mask & finite[:, None, None]
    found = {
        region.tile: region.whole(mask[span, : region.tile[0], : region.tile[1]])
        for region, span in zip(flat, spans, strict=True)
    }
    bands = [jnp.concatenate([found[region.tile] for region in band], 2) for band in parts]
    return jnp.concatenate(bands, 1)


def _join(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _pose(problem: Problem, tile: tuple[int, int], tiles: Any) -> tuple[Any, ...]:
    """What is known of equal tiles (T, m, m): sizes, potentials, which are open, other masks."""
    n, m, dtype, score = problem
    count = len(tiles)
    none, all_of_them = jnp.zeros((count, m), jnp.int32), jnp.ones(count, jnp.bool_)
    sizes = jnp.broadcast_to(np.array(tile, np.int32), (count, 2))
    if n >= max(tile):
        # The groups constrain nothing.
        mask = ~scores_of(tiles, dtype, score).below_zero | (tile == (m, m))
        return sizes, none, none, ~all_of_them, mask
    if tile == (m, m):
        chunk = min(_chunks().ascent, count)
        more = jnp.pad(tiles, ((0, -count % chunk), (0, 0), (0, 0)))
        mask, proved, u, v = (part[:count] for part in ascend_all(problem, more, chunk))
        return sizes, u, v, ~proved, mask
    return sizes, none, none, all_of_them, jnp.zeros(tiles.shape, jnp.bool_)


def _chunks() -> Chunks:
    return _CHUNKS_CPU if jax.default_backend() == "cpu" else _CHUNKS


def ascend_all(problem: Problem, tiles: Any, chunk: int) -> tuple[Any, ...]:
    """Masks of full tiles (T, m, m), which are proved, and potentials (T, m)."""

    def one_chunk(part: Any) -> tuple[Any, ...]:
        scores = scores_of(side_by_side(part), problem.dtype, problem.score)
        q, lost = scores.floor(scores.scale() - BITS)
        q = fold_table(q, lost)
        zero = q[0] * 0
        start = zero + (1 << BITS - 1), zero
        u, v = ascend(q, problem.n, *start, 2 * rounds(problem.m), -LIMIT, LIMIT)
        mask, proved = separates(q, problem.n, u, v)
        return one_by_one(mask), proved, u.T, v.T

    found = lax.map(one_chunk, tiles.reshape(-1, chunk, *tiles.shape[1:]))
    return tuple(part.reshape(-1, *part.shape[2:]) for part in found)


def _solve_open(problem: Problem, given: _Open) -> Any:
    """Masks (T, m, m) of all tiles, a chunk of the open ones at a time."""
    n, m, dtype, score = problem
    count = len(given.tiles)
    chunk = min(_chunks().open, count)
    left = total(given.open)
    # Beyond the last open tile an index that is out of bounds, to which nothing is written.
    order = jnp.nonzero(given.open, size=count + -count % chunk, fill_value=count)[0].astype(
        jnp.int32
    )
    line = count_up(m)

    def one_chunk(state: tuple[Any, Any]) -> tuple[Any, Any]:
        first, mask = state
        which = lax.dynamic_slice_in_dim(order, first, chunk)
        tiles, sizes, u, v, *_ = (part.at[which].get(mode="clip") for part in given)
        scores = scores_of(side_by_side(tiles), dtype, score)
        rows, columns = sizes.T
        full = (rows == m) & (columns == m)
        inside = (line[:, None, None] < rows) & (line[None, :, None] < columns)
        barred = ~full & (~inside | scores.below_zero)
        scores = scores.without(barred)
        found = solve_levels(scores, barred, u.T, v.T, n, full, which < count)
        return first + chunk, mask.at[which].set(one_by_one(found), mode="drop")

    # So that a shard's loop begins with what is as local as what it goes on with.
    mask = given.mask | (given.open & ~given.open)[:, None, None]
    return lax.while_loop(lambda state: state[0] < left, one_chunk, (left * 0, mask))[1]
