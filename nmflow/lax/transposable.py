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
    allowed : bool array, shape (T, m, m), or None
        What may be kept, where that is not all.
    unfilled : bool array, shape (T,), or None
        Full tiles of which no mask of allowed entries holds n in each row and column.
    """

    tiles: Any
    sizes: Any
    u: Any
    v: Any
    open: Any
    mask: Any
    allowed: Any
    unfilled: Any


def solve_matrices(bits: Any, problem: Problem, allowed: Any = None) -> Any:
    """Transposable masks of matrices (B, R, C), given by the bits of their weights.

    Tiles with NaN or infinity get empty masks. Those that allowed entries (bools of the shape of
    ``bits``) can't fill hold at most n.
    """
    if not bits.size:
        return jnp.zeros(bits.shape, jnp.bool_)
    parts = regions(bits.shape[1], bits.shape[2], problem.m)
    flat = [region for band in parts for region in band]
    cut = [region.cut(bits) for region in flat]
    tiles = _join([padded(some, problem.m) for some in cut])
    may = None
    if allowed is not None:
        may = _join([padded(region.cut(allowed), problem.m) for region in flat])
    finite = is_finite(tiles, problem.dtype).all((1, 2))
    tiles = jnp.where(finite[:, None, None], tiles, jnp.zeros_like(tiles))
    ends = list(itertools.accumulate(len(some) for some in cut))
    spans = [slice(end - len(some), end) for end, some in zip(ends, cut, strict=True)]
    posed = [
        _pose(problem, region.tile, tiles[span], None if may is None else may[span])
        for region, span in zip(flat, spans, strict=True)
    ]
    sizes, u, v, still_open, mask = (_join(some) for some in zip(*posed, strict=True))
    if any(problem.n < max(region.tile) for region in flat):
        still_open = still_open & finite
        unfilled = None if may is None else still_open & ~still_open
        mask = _solve_open(problem, _Open(tiles, sizes, u, v, still_open, mask, may, unfilled))
    mask = mask & finite[:, None, None]
    found = {
        region.tile: region.whole(mask[span, : region.tile[0], : region.tile[1]])
        for region, span in zip(flat, spans, strict=True)
    }
    bands = [jnp.concatenate([found[region.tile] for region in band], 2) for band in parts]
    return jnp.concatenate(bands, 1)


def _join(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _pose(problem: Problem, tile: tuple[int, int], tiles: Any, allowed: Any) -> tuple[Any, ...]:
    """What is known of equal tiles (T, m, m): sizes, potentials, which are open, other masks."""
    n, m, dtype, score = problem
    count = len(tiles)
    none, all_of_them = jnp.zeros((count, m), jnp.int32), jnp.ones(count, jnp.bool_)
    sizes = jnp.broadcast_to(np.array(tile, np.int32), (count, 2))
    if n >= max(tile):
        # The groups constrain nothing.
        filled = tile == (m, m)
        if allowed is not None:
            filled = filled & allowed.all((1, 2), keepdims=True)
        mask = ~scores_of(tiles, dtype, score).below_zero | filled
        mask = mask if allowed is None else mask & allowed
        return sizes, none, none, ~all_of_them, mask
    if tile == (m, m):
        chunk = min(_chunks().ascent, count)
        more = jax.tree.map(
            lambda part: jnp.pad(part, ((0, -count % chunk), (0, 0), (0, 0))), (tiles, allowed)
        )
        mask, proved, u, v = (part[:count] for part in ascend_all(problem, *more, chunk=chunk))
        return sizes, u, v, ~proved, mask
    return sizes, none, none, all_of_them, jnp.zeros(tiles.shape, jnp.bool_)


def _chunks() -> Chunks:
    return _CHUNKS_CPU if jax.default_backend() == "cpu" else _CHUNKS


def ascend_all(problem: Problem, tiles: Any, allowed: Any = None, *, chunk: int) -> tuple[Any, ...]:
    """Masks of full tiles (T, m, m), which are proved, and potentials (T, m)."""

    def one_chunk(part: tuple[Any, Any]) -> tuple[Any, ...]:
        bits, may = jax.tree.map(side_by_side, part)
        scores = scores_of(bits, problem.dtype, problem.score)
        most = top = scores.scale()
        if may is not None:
            scores, most = scores.penalised(~may), scores.without(~may).scale()
            top = scores.scale()
        q, lost = scores.floor(top - BITS)
        q = fold_table(q, lost)
        zero = q[0] * 0
        # Half of what the largest score may be.
        start = zero + (1 << BITS - 1 - (top - most)), zero
        u, v = ascend(q, problem.n, *start, 2 * rounds(problem.m), -LIMIT, LIMIT)
        mask, proved = separates(q, problem.n, u, v)
        if may is not None:
            proved = proved & ~(mask & ~may).any((0, 1))
        return one_by_one(mask), proved, u.T, v.T

    parts = jax.tree.map(lambda part: part.reshape(-1, chunk, *part.shape[1:]), (tiles, allowed))
    found = lax.map(one_chunk, parts)
    return tuple(part.reshape(-1, *part.shape[2:]) for part in found)


def _solve_open(problem: Problem, given: _Open) -> Any:
    """Masks (T, m, m) of all tiles; of those that can't be filled in a second turn."""
    if given.allowed is None:
        return _solve_chunks(problem, given)

    def turn(_: Any, given: _Open) -> _Open:
        mask = _solve_chunks(problem, given)
        unfilled = given.open & (mask & ~given.allowed).any((1, 2))
        u, v = (jnp.where(unfilled[:, None], 0, price) for price in (given.u, given.v))
        return given._replace(mask=mask, open=unfilled, unfilled=unfilled, u=u, v=v)

    return lax.fori_loop(0, 2, turn, given).mask


def _solve_chunks(problem: Problem, given: _Open) -> Any:
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
        some = jax.tree.map(lambda part: part.at[which].get(mode="clip"), given)
        scores = scores_of(side_by_side(some.tiles), dtype, score)
        rows, columns = some.sizes.T
        full = (rows == m) & (columns == m)
        inside = (line[:, None, None] < rows) & (line[None, :, None] < columns)
        if some.allowed is not None:
            full, inside = full & ~some.unfilled, inside & side_by_side(some.allowed)
        barred = ~full & (~inside | scores.below_zero)
        scores = scores.without(barred)
        if some.allowed is not None:
            scores = scores.penalised(full & ~inside)
        found = solve_levels(scores, barred, some.u.T, some.v.T, n, full, which < count)
        return first + chunk, mask.at[which].set(one_by_one(found), mode="drop")

    # So that a shard's loop begins with what is as local as what it goes on with.
    mask = given.mask | (given.open & ~given.open)[:, None, None]
    return lax.while_loop(lambda state: state[0] < left, one_chunk, (left * 0, mask))[1]
