"""Parameters as batches of matrices (B, out, in), or of tiles where these are whole."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from nmflow.models import Layout
from nmflow.problem.pattern import Pattern


def as_batch(values: Any, layout: Layout, pattern: Pattern) -> Any:
    """A parameter as matrices (B, out, in), cut into tiles (B, m, m) where a mask is one of each.

    Parameters
    ----------
    values : Array
    layout : Layout
    pattern : Pattern
    """
    matrices = layout.matrices(values)
    moved = jnp.moveaxis(matrices, layout.matrix_axes(values.ndim), (-2, -1))
    rows, columns = moved.shape[-2:]
    if not _is_whole(rows, columns, pattern):
        return moved.reshape(-1, rows, columns)
    m = pattern.m
    blocks = moved.reshape(-1, rows // m, m, columns // m, m)
    return blocks.swapaxes(2, 3).reshape(-1, m, m)


def from_batch(masks: Any, shape: tuple[int, ...], layout: Layout, pattern: Pattern) -> Any:
    """The inverse of :func:`as_batch`, for a parameter of this shape."""
    split = layout.matrices(np.broadcast_to(False, shape)).shape
    axes = layout.matrix_axes(len(shape))
    rest = [size for axis, size in enumerate(split) if axis not in axes]
    rows, columns = (split[axis] for axis in axes)
    if _is_whole(rows, columns, pattern):
        m = pattern.m
        masks = masks.reshape(-1, rows // m, columns // m, m, m).swapaxes(2, 3)
    moved = masks.reshape(*rest, rows, columns)
    return layout.tensor(jnp.moveaxis(moved, (-2, -1), axes))


def _is_whole(rows: int, columns: int, pattern: Pattern) -> bool:
    return pattern.name == "transposable" and rows % pattern.m == columns % pattern.m == 0
