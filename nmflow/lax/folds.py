"""What is counted and compared along lines of tiles (m, m, K), in one operation for all tiles."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def held(mask: Any, axis: int) -> Any:
    """How many entries of (m, m, K) each line holds, (m, K); 32 bits whatever JAX's default."""
    return mask.sum(axis, dtype=jnp.int32)


def total(units: Any) -> Any:
    """The sum over lines (m, K), (K,)."""
    return units.sum(0, dtype=jnp.int32)


def count_up(length: int) -> Any:
    """0, 1, 2 ... ``length`` - 1."""
    return jnp.arange(length, dtype=jnp.int32)


def least(values: list[Any]) -> Any:
    """The smallest of some arrays, entry by entry."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [jnp.minimum(*pair) for pair in pairs] + values[len(values) & ~1 :]
    return values[0]


def least_of_rows(matrix: Any, added: Any) -> Any:
    """min_j matrix[i, j] + added[j], shape (m, K)."""
    return least([matrix[:, j] + added[j] for j in range(matrix.shape[1])])


def least_of_columns(matrix: Any, added: Any) -> Any:
    """min_i matrix[i, j] + added[i], shape (m, K)."""
    return least([matrix[i] + added[i] for i in range(matrix.shape[0])])
