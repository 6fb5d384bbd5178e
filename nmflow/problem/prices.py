"""Prices of rows and columns, which prove masks: the solution of the linear programme's dual."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.pattern import Pair
from nmflow.problem.tiling import Window


class Prices(NamedTuple):
    """Prices of the rows and columns of all tiles of a batch of matrices (B, R, C).

    A mask that keeps what exceeds the price of its row plus that of its column, and prunes what
    falls short of it, is optimal; see :func:`nmflow.certify`. Where prices are not known they are
    NaN.

    Attributes
    ----------
    rows : ndarray of float32 or float64, shape (B, R, J)
        In the scores' unit: of each row in each of the J = ceil(C / width) tiles that it crosses.
    columns : ndarray of float32 or float64, shape (B, I, C)
        Of each column in each of the I = ceil(R / height) tiles that it crosses.
    """

    rows: NDArray[Any]
    columns: NDArray[Any]

    @staticmethod
    def shapes(shape: tuple[int, int, int], tile: Pair) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of ``rows`` and ``columns`` for a batch of that shape in such tiles."""
        matrices, rows, columns = shape
        return (matrices, rows, -(-columns // tile[1])), (matrices, -(-rows // tile[0]), columns)

    @classmethod
    def unknown(cls, shape: tuple[int, int, int], tile: Pair) -> Prices:
        """NaN for every tile of a batch of that shape."""
        return cls(*(np.full(part, np.nan, np.float32) for part in cls.shapes(shape, tile)))

    @property
    def known(self) -> bool:
        """Whether there are prices for any tile."""
        # Mostly the first tell.
        return bool(np.isfinite(self.columns[:1, :1]).any() or np.isfinite(self.columns).any())

    def of(self, window: Window, tile: Pair) -> Prices:
        """Views: those of a window of the batch."""
        matrices, rows, columns = window.box
        down = slice(rows.start // tile[0], -(-rows.stop // tile[0]))
        across = slice(columns.start // tile[1], -(-columns.stop // tile[1]))
        return Prices(self.rows[matrices, rows, across], self.columns[matrices, down, columns])
