"""Exact masks where groups don't overlap: the largest of each, by bisection on the scores' bits.

The masks of :mod:`nmflow.solvers.selection`, of which it says what is kept of equal scores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from nmflow.lax.numbers import is_finite, is_float
from nmflow.problem.pattern import Pattern


def select_matrices(
    bits: Any, pattern: Pattern, dtype: str, score: str, allowed: Any = True
) -> Any:
    """Masks of matrices (B, R, C), given by the bits of their weights.

    Groups with NaN or infinity get empty masks. Those with fewer allowed entries than they should
    hold keep of these what is not negative.
    """
    allowed = jnp.broadcast_to(allowed, bits.shape)
    if pattern.name == "columns":
        along, turned = replace(pattern, name="rows"), (bits.swapaxes(1, 2), allowed.swapaxes(1, 2))
        return select_matrices(turned[0], along, dtype, score, turned[1]).swapaxes(1, 2)
    if pattern.name == "unstructured":
        flat, may = (part.reshape(len(bits), -1) for part in (bits, allowed))
        mask = _keep(flat, pattern.kept_of(flat.shape[1]), dtype, score, may)[0]
        return mask.reshape(bits.shape)
    b, rows, columns = bits.shape
    whole = columns - columns % pattern.m
    cut = (b, rows, whole // pattern.m, pattern.m)
    groups, may = (part[:, :, :whole].reshape(cut) for part in (bits, allowed))
    mask, _ = _keep(groups, pattern.n, dtype, score, may)
    most = min(pattern.n, columns - whole)
    edge, not_negative = _keep(bits[:, :, whole:], most, dtype, score, allowed[:, :, whole:])
    return jnp.concatenate([mask.reshape(b, rows, whole), edge & not_negative], 2)


def _keep(bits: Any, count: int, dtype: str, score: str, allowed: Any) -> tuple[Any, Any]:
    """Which are the ``count`` largest along the last axis; and which scores are not negative."""
    if not bits.size:
        return jnp.zeros(bits.shape, jnp.bool_), jnp.zeros(bits.shape, jnp.bool_)
    keys, zero = keys_of(bits, dtype, score)
    finite = is_finite(bits, dtype).all(-1, keepdims=True)
    filled = allowed.sum(-1, keepdims=True, dtype=jnp.int32) >= count
    mask = keep_largest(keys, count, allowed) & (filled | (keys >= zero))
    return mask & finite, keys >= zero


def keep_largest(keys: Any, count: int, allowed: Any) -> Any:
    """The ``count`` largest unsigned integers along the last axis, the earlier of equals first.

    Of those that are allowed, or as many as there are.
    """
    if not count:
        return jnp.zeros(keys.shape, jnp.bool_)
    width = 8 * keys.dtype.itemsize
    one = jnp.ones((), keys.dtype)

    def add_bit(k: Any, least: Any) -> Any:
        larger = least | (one << (width - 1 - k).astype(keys.dtype))
        enough = ((keys >= larger) & allowed).sum(-1, keepdims=True, dtype=jnp.int32) >= count
        return jnp.where(enough, larger, least)

    least = lax.fori_loop(0, width, add_bit, keys[..., :1] ^ keys[..., :1])
    above, ties = (keys > least) & allowed, (keys == least) & allowed
    missing = count - above.sum(-1, keepdims=True, dtype=jnp.int32)
    return above | (ties & (jnp.cumsum(ties, axis=-1, dtype=jnp.int32) <= missing))


def keys_of(bits: Any, dtype: str, score: str) -> tuple[Any, Any]:
    """Unsigned integers in the order of the scores, equal where those are; and that of 0.

    Squares are in the order of magnitudes.
    """
    unsigned = np.dtype("uint8" if dtype == "bool" else f"uint{8 * bits.dtype.itemsize}")
    half, zero = unsigned.type(1 << (8 * unsigned.itemsize - 1)), unsigned.type(0)
    words = bits.astype(unsigned)
    if is_float(dtype):
        magnitude = words & (half - unsigned.type(1))
        if score != "raw":
            return magnitude, zero
        return jnp.where(words >= half, half - magnitude, half + magnitude), half
    if not dtype.startswith("int"):
        return words, zero
    if score == "raw":
        return words ^ half, half
    return jnp.where(words >= half, ~words + unsigned.type(1), words), zero
