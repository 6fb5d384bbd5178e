"""Matrices <-> tiles, one by one or side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp


class Region(NamedTuple):
    """Equal tiles in a batch of matrices.

    Attributes
    ----------
    rows, columns : slice
    tile : pair of int
    """

    rows: slice
    columns: slice
    tile: tuple[int, int]

    def cut(self, matrices: Any) -> Any:
        """Its tiles (T, r, c), from matrices (B, R, C)."""
        part, (r, c) = matrices[:, self.rows, self.columns], self.tile
        b, height, width = part.shape
        blocks = part.reshape(b, height // r, r, width // c, c)
        return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, r, c)

    def whole(self, tiles: Any) -> Any:
        """Its part of the matrices, from its tiles."""
        r, c = self.tile
        down = (self.rows.stop - self.rows.start) // r
        across = (self.columns.stop - self.columns.start) // c
        blocks = tiles.reshape(-1, down, across, r, c).transpose(0, 1, 3, 2, 4)
        return blocks.reshape(-1, down * r, across * c)


def regions(rows: int, columns: int, m: int) -> list[list[Region]]:
    """What a matrix is cut into, as it lies: m x m tiles, and those of the ragged edges."""
    return [
        [Region(down, across, (height, width)) for across, width in _spans(columns, m)]
        for down, height in _spans(rows, m)
    ]


def _spans(length: int, m: int) -> list[tuple[slice, int]]:
    """The whole groups of an axis, then the partial one, each with its group length."""
    whole = length - length % m
    spans = [(slice(0, whole), m), (slice(whole, length), length - whole)]
    return [(span, size) for span, size in spans if span.start < span.stop]


def side_by_side(tiles: Any) -> Any:
    """Tiles (K, r, c) as (r, c, K)."""
    count, r, c = tiles.shape
    return tiles.reshape(count, r * c).T.reshape(r, c, count)


def one_by_one(tiles: Any) -> Any:
    """Tiles (r, c, K) as (K, r, c)."""
    r, c, count = tiles.shape
    return tiles.reshape(r * c, count).T.reshape(count, r, c)


def padded(tiles: Any, m: int) -> Any:
    """Tiles (T, r, c) as (T, m, m), with zeros."""
    _, r, c = tiles.shape
    return jnp.pad(tiles, ((0, 0), (0, m - r), (0, m - c)))
