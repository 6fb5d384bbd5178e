"""The weights that benchmarks run on, and their tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.encoder import encoder_matrices

PATTERNS = ((1, 4), (2, 4), (2, 8), (4, 8), (4, 16), (8, 16), (8, 32), (16, 32))
# What README shows.
COMMON = ((2, 4), (4, 8), (8, 16), (16, 32))

_SHAPE = (1024, 1024)
# The width that divides all of MiniLM's encoder matrices, and one strip in ten of this height.
_WIDTH, _HEIGHT, _EVERY = 384, 32, 10


def gaussian(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """Standard normal weights."""
    return np.random.default_rng(seed).standard_normal((rows, columns), np.float32)


def minilm() -> NDArray[np.float32]:
    """A tenth of the 36 encoder matrices of MiniLM, from all of them alike, as one matrix."""
    wide = [
        matrix[:, k : k + _WIDTH]
        for matrix in encoder_matrices()
        for k in range(0, matrix.shape[1], _WIDTH)
    ]
    strips = np.concatenate(wide).reshape(-1, _HEIGHT, _WIDTH)[::_EVERY]
    return np.ascontiguousarray(strips.reshape(-1, _WIDTH))


def minilm_bfloat16() -> NDArray[Any]:
    """The same, rounded to bfloat16."""
    import ml_dtypes

    return minilm().astype(ml_dtypes.bfloat16)


WEIGHTS: dict[str, Callable[[], NDArray[Any]]] = {
    "MiniLM float32": minilm,
    "MiniLM bfloat16": minilm_bfloat16,
    "N(0, 1)": lambda: gaussian(*_SHAPE),
    "Student t(3)": lambda: np.random.default_rng(1).standard_t(3, _SHAPE).astype(np.float32),
    "binary": lambda: np.random.default_rng(2).integers(0, 2, _SHAPE).astype(np.float32),
}


def tiles_of(matrix: NDArray[Any], m: int) -> NDArray[Any]:
    """The m x m tiles of a matrix in row-major order, shape (T, m, m)."""
    rows, columns = matrix.shape
    blocks = matrix.reshape(rows // m, m, columns // m, m).swapaxes(1, 2)
    tiles: NDArray[Any] = blocks.reshape(-1, m, m)
    return tiles


def matrix_of(tiles: NDArray[Any]) -> NDArray[Any]:
    """Tiles side by side in one row of tiles."""
    return np.ascontiguousarray(tiles.swapaxes(0, 1).reshape(tiles.shape[1], -1))


def some_of(tiles: NDArray[Any], weights: int) -> NDArray[Any]:
    """Tiles spread evenly over all, holding about so many weights, at least eight tiles."""
    count = min(max(weights // tiles[0].size, 8), len(tiles))
    some: NDArray[Any] = tiles[np.arange(count) * len(tiles) // count]
    return some
