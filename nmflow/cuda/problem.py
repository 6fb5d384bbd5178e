"""What the kernels are called with: where weights, mask and scratch lie, strides and sizes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

COUNTERS = 8
"""Ints at the start of the scratch memory, which are 0 when the first kernel starts."""
OPEN, DIFFICULT, NOT_FINITE, BEYOND_TABLES = range(4)
"""Places among them; the order of ``Counter`` in ``tiles.h``."""
LARGEST_TILES = (1 << 31) - 1
# Tiles are divided by multiplication, which is exact below 2**31.
_BITS = 31


class Arguments(ctypes.Structure):
    """``Problem`` of ``tiles.h``, its fields in order."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "mask", "scratch")),
        *((f"{name}_stride", ctypes.c_longlong) for name in ("batch", "row", "column")),
        *((name, ctypes.c_int) for name in ("batch", "rows", "columns", "vectors")),
        *((f"{name}_shift", ctypes.c_int) for name in ("across", "down")),
        *((f"{name}_magic", ctypes.c_longlong) for name in ("across", "down")),
    )

    @property
    def each(self) -> list[Any]:
        """The fields as a launch takes them: plain addresses, and numbers with their types."""
        values = ((kind, getattr(self, name)) for name, kind, *_ in self._fields_)
        return [x if kind is ctypes.c_void_p else kind(x) for kind, x in values]


def tile_count(shape: Sequence[int], m: int) -> int:
    """Tiles of a batch of matrices, partial ones among them."""
    batch, rows, columns = shape
    return batch * -(-rows // m) * -(-columns // m)


def scratch_size(shape: Sequence[int], m: int) -> int:
    """Ints of scratch memory: counters, two queues, potentials of the first one's tiles."""
    return COUNTERS + tile_count(shape, m) * (3 + 2 * m)


def arguments(
    pointers: Sequence[int], strides: Sequence[int], shape: Sequence[int], m: int, itemsize: int
) -> Arguments:
    """Arguments for matrices of a shape (B, R, C).

    Parameters
    ----------
    pointers : three int
        Addresses of weights, mask (bool, contiguous) and scratch memory.
    strides : three int
        Of the weights, in entries.
    """
    _, rows, columns = shape
    down, across = _divisor(-(-rows // m)), _divisor(-(-columns // m))
    four = pointers[0] % (4 * itemsize) == 0 and all(step % 4 == 0 for step in strides[:2])
    vectors = int(four and strides[2] == 1)
    return Arguments(*pointers, *strides, *shape, vectors, across[0], down[0], across[1], down[1])


def _divisor(number: int) -> tuple[int, int]:
    """Shift and magic number: x // number == x * magic >> shift for 0 <= x < 2**31."""
    shift = _BITS + (number - 1).bit_length()
    return shift, -(-(1 << shift) // number)
