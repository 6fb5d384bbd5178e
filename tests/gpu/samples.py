"""Matrices of every kind of tile at once: a call costs what its slowest tile does."""

import numpy as np
from tiles import KINDS, make, seeded

# Those of the tests of the engine, which it compiles one by one.
PATTERNS = [(1, 4), (2, 4), (3, 4), (3, 8), (4, 8), (6, 8), (8, 16), (16, 32)]


def tiles_of_every_kind(n, m, dtype, each=80):
    """(T, m, m), ``each`` of a kind, clipped to what the dtype holds."""
    largest = float(np.finfo(dtype).max)
    tiles = [make(kind, seeded(kind, n, m), each, m, m) for kind in KINDS]
    return np.clip(np.concatenate(tiles), -largest, largest).astype(dtype)


def side_by_side(tiles, across):
    """A matrix with so many tiles in each row of tiles."""
    count, m, _ = tiles.shape
    rows = count // across
    blocks = tiles[: rows * across].reshape(rows, across, m, m).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocks).reshape(rows * m, across * m)
