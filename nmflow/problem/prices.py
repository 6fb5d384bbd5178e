"""Prices of rows and columns, which prove masks: the solution of the linear programme's dual."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.tiling import Window


class Prices(NamedTuple):
    """Prices of the rows and columns of all tiles of a batch of matrices (B, R, C).

    A mask that keeps what exceeds the price of its row plus that of its column, and prunes what
    falls short of it, is optimal; see :func:`nmflow.certify`. Where prices are not known they are
    NaN.

    Attributes
    ----------
    rows : ndarray of float32 or float64, shape (B, R, J)
        In the scores' unit: of each row in each of the J = ceil(C / m) tiles that it crosses.
    columns : ndarray of float32 or float64, shape (B, I, C)
        Of each column in each of the I = ceil(R / m) tiles that it crosses.
    """

    rows: NDArray[Any]
    columns: NDArray[Any]

    @staticmethod
    def shapes(shape: tuple[int, int, int], m: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of ``rows`` and ``columns`` for a batch of that shape."""
        matrices, rows, columns = shape
        return (matrices, rows, -(-columns // m)), (matrices, -(-rows // m), columns)

    @classmethod
    def unknown(cls, shape: tuple[int, int, int], m: int) -> Prices:
        """NaN for every tile of a batch of that shape."""
        return cls(*(np.full(part, np.nan, np.float32) for part in cls.shapes(shape, m)))

    def of(self, window: Window, m: int) -> Prices:
        """Views: those of a window of the batch."""
        matrices, rows, columns = window.box
        down = slice(rows.start // m, -(-rows.stop // m))
        across = slice(columns.start // m, -(-columns.stop // m))
        return Prices(self.rows[matrices, rows, across], self.columns[matrices, down, columns])
