"""Sums along one axis of (m, m, K) in one operation for all tiles, which XLA makes one loop."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


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
