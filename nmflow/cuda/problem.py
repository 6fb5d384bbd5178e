"""What the kernels are called with: a table of matrices, each with where it lies and its size."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

COUNTERS = 8
"""Ints that count for a matrix, which are 0 when the first kernel starts."""
OPEN, DIFFICULT, NOT_FINITE, BEYOND_TABLES, FLIPPED = range(5)
"""Places among them; the order of ``Counter`` in ``tiles.h``."""
LARGEST_TILES = (1 << 31) - 1
MATRICES = 28
"""Of a launch, whose parameters are at most 4096 bytes."""
WARPS = 4
"""Of a block, as in ``tiles.h``."""
# Tiles are divided by multiplication, which is exact below 2**31.
_BITS = 31


class Problem(ctypes.Structure):
    """``Problem`` of ``tiles.h``, its fields in order."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in ("weights", "mask", "counters", "scratch", "in_force", "warm")
        ),
        *((f"{name}_stride", ctypes.c_longlong) for name in ("batch", "row", "column")),
        *((f"in_force_{name}_stride", ctypes.c_longlong) for name in ("batch", "row", "column")),
        *((name, ctypes.c_int) for name in ("batch", "rows", "columns", "vectors")),
        *((f"{name}_shift", ctypes.c_int) for name in ("across", "down")),
        *((name, ctypes.c_int) for name in ("first_block", "blocks")),
        *((f"{name}_magic", ctypes.c_longlong) for name in ("across", "down")),
    )


class Table(ctypes.Structure):
    """``Table`` of ``tiles.h``."""

    _fields_ = (
        ("each", Problem * MATRICES),
        ("refused", ctypes.c_void_p),
        ("count", ctypes.c_int),
    )

    @property
    def blocks(self) -> int:
        """Of the whole launch."""
        last = self.each[self.count - 1]
        return int(last.first_block + last.blocks)


class Pointers(NamedTuple):
    """Addresses of what belongs to a matrix; 0 where there is none."""

    weights: int
    mask: int
    counters: int
    scratch: int
    in_force: int = 0
    warm: int = 0


class Matrix(NamedTuple):
    """A batch of matrices of one weight, to be solved beside others.

    Attributes
    ----------
    pointers : Pointers
        Of weights, mask (bool, contiguous), counters, scratch memory, and perhaps of the mask that
        the new one is to replace, and of the potentials that stay from solve to solve.
    shape : three int
    strides : three int
        Of the weights, in entries.
    itemsize : int
        Of a weight, in bytes.
    in_force_strides : three int
        Of the mask that is to be replaced.
    """

    pointers: Pointers
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int
    in_force_strides: tuple[int, ...] = (0, 0, 0)


def tile_count(shape: Sequence[int], m: int) -> int:
    """Tiles of a batch of matrices, partial ones among them."""
    batch, rows, columns = shape
    return batch * -(-rows // m) * -(-columns // m)


def scratch_size(shape: Sequence[int], m: int) -> int:
    """Ints of scratch memory: two queues, potentials of the first one's tiles."""
    return tile_count(shape, m) * (3 + 2 * m)


def warm_size(shape: Sequence[int], m: int) -> int:
    """Ints in which potentials stay: two of 16 bits for a row and a column, an exponent a tile."""
    return tile_count(shape, m) * (m + 1)


def tables(matrices: Sequence[Matrix], m: int, blocks: int, refused: int = 0) -> list[Table]:
    """Tables for as few launches as hold all matrices.

    Parameters
    ----------
    matrices : sequence of Matrix
    m : int
    blocks : int
        Of a launch; matrices share them as they share tiles, and each has one at least.
    refused : int
        Address of an int that is not 0 where no mask is to be replaced; 0 for none.
    """
    cut = (matrices[k : k + MATRICES] for k in range(0, len(matrices), MATRICES))
    return [_table(part, m, blocks, refused) for part in cut]


def _table(matrices: Sequence[Matrix], m: int, blocks: int, refused: int) -> Table:
    tiles = [tile_count(matrix.shape, m) for matrix in matrices]
    table, first, total = Table(), 0, sum(tiles)
    table.count, table.refused = len(matrices), refused
    for k, (matrix, count) in enumerate(zip(matrices, tiles, strict=True)):
        share = max(1, min(blocks * count // total, -(-count // WARPS)))
        table.each[k] = _problem(matrix, m, first, share)
        first += share
    return table


def _problem(matrix: Matrix, m: int, first: int, blocks: int) -> Problem:
    _, rows, columns = matrix.shape
    down, across = _divisor(-(-rows // m)), _divisor(-(-columns // m))
    four = matrix.pointers.weights % (4 * matrix.itemsize) == 0
    four = four and all(step % 4 == 0 for step in matrix.strides[:2]) and matrix.strides[2] == 1
    return Problem(
        *matrix.pointers,
        *matrix.strides,
        *matrix.in_force_strides,
        *matrix.shape,
        int(four),
        *(across[0], down[0]),
        *(first, blocks),
        *(across[1], down[1]),
    )


def _divisor(number: int) -> tuple[int, int]:
    """Shift and magic number: x // number == x * magic >> shift for 0 <= x < 2**31."""
    shift = _BITS + (number - 1).bit_length()
    return shift, -(-(1 << shift) // number)
