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

import functools

import numpy as np
from numpy.typing import NDArray

TABLES = 4
TABLE_BITS = 8


@functools.cache
def table(index: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Table number ``index`` for a tile of ``rows`` x ``columns``: integers in 1 ... 255."""
    made = np.array([[entry(index, i, j) for j in range(columns)] for i in range(rows)], np.int64)
    made.flags.writeable = False  # every caller gets the same array
    return made


def entry(index: int, i: int, j: int) -> int:
    """Entry i, j of a table; kernels compile this very function."""
    # An unsigned number where compiled, Python's where not: it never overflows.
    z = int(np.uint64((index << 32) + (i << 16) + j))
    z = (z + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return int((z ^ (z >> 31)) % np.uint64(255)) + 1
