"""Matrices <-> tiles, tile by tile or side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

Region = Callable[[Any, bool], Any]


def by_regions(matrices: Any, m: int, solve: Region) -> Any:
    """Masks of matrices (B, R, C), from those of regions of equal tiles.

    ``solve`` takes the tiles (T, r, c) of a region, and whether they are m x m; it returns as many
    masks.
    """
    _, rows, columns = matrices.shape
    if 0 in matrices.shape:
        return jnp.zeros(matrices.shape, jnp.bool_)
    bands = []
    for top, height in _spans(rows, m):
        parts = []
        for left, width in _spans(columns, m):
            part = matrices[:, top[0] : top[1], left[0] : left[1]]
            masks = solve(_cut(part, height, width), (height, width) == (m, m))
            parts.append(_paste(masks, part.shape))
        bands.append(jnp.concatenate(parts, 2))
    return jnp.concatenate(bands, 1)


def _spans(length: int, m: int) -> list[tuple[tuple[int, int], int]]:
    """The whole groups of an axis, then the partial one: from, to, and the groups' length."""
    whole = length - length % m
    spans = [((0, whole), m), ((whole, length), length - whole)]
    return [(span, size) for span, size in spans if span[0] < span[1]]


def _cut(part: Any, r: int, c: int) -> Any:
    b, rows, columns = part.shape
    blocks = part.reshape(b, rows // r, r, columns // c, c)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, r, c)


def _paste(tiles: Any, shape: tuple[int, int, int]) -> Any:
    (b, rows, columns), (_, r, c) = shape, tiles.shape
    blocks = tiles.reshape(b, rows // r, columns // c, r, c)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(shape)


def side_by_side(tiles: Any) -> Any:
    """Tiles (K, r, c) as (r, c, K)."""
    count, r, c = tiles.shape
    return tiles.reshape(count, r * c).T.reshape(r, c, count)


def one_by_one(tiles: Any) -> Any:
    """Tiles (r, c, K) as (K, r, c)."""
    r, c, count = tiles.shape
    return tiles.reshape(r * c, count).T.reshape(count, r, c)


def padded(tiles: Any, m: int) -> Any:
    """Partial tiles (r, c, K) as (m, m, K), with zeros."""
    r, c, _ = tiles.shape
    return jnp.pad(tiles, ((0, m - r), (0, m - c), (0, 0)))
