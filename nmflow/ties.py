"""The tables that choose one mask where several are optimal.

The mask of ``flow`` is a property of the tile. Among all masks of the largest kept score it is the
one that keeps most of table 0, among those the one that keeps most of table 1, and so on through
:data:`TABLES` tables of hashed integers; should two masks still tie, the one whose entries, read
in row-major order, come first in the lexicographic order (kept before pruned).

Table k holds at row i, column j of a tile the integer ``1 + (h mod 255)``, where ``h`` is the
output function of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) of ``k * 2**32 + i * 2**16 + j``.
The tables are part of the contract: every device and every later version computes the same mask.
They depend on the position alone, not on n or m. All entries are positive, so a partial tile of
zeros is filled rather than left empty, and at most 255, so one fits eight bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TABLES = 4
TABLE_BITS = 8


def table(index: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Table number ``index`` for a tile of ``rows`` x ``columns``: integers in 1 ... 255."""
    i = np.arange(rows, dtype=np.uint64)[:, None]
    j = np.arange(columns, dtype=np.uint64)[None, :]
    key = (np.uint64(index) << np.uint64(32)) + (i << np.uint64(16)) + j
    return (_splitmix64(key) % np.uint64(255)).astype(np.int64) + 1


def _splitmix64(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
