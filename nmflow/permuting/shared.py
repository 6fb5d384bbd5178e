"""An order, and all sides of matrices that have to follow it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of a matrix that follows an order.

    Attributes
    ----------
    matrix : int
        Which matrix.
    axis : {0, 1}
        Its rows or its columns.
    places : ndarray of int64, shape (N,), optional
        Where on the axis each position of the order lies; all of the axis, as it is, if None. A
        group of positions must be a group on the axis.
    """

    matrix: int
    axis: int
    places: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SharedOrder:
    """What may be put in another order, all at once.

    Attributes
    ----------
    size : int
    sides : tuple of Side
    classes : ndarray of int64, shape (N,), optional
        Positions change places with others of their class alone, such as those of a head; all with
        all if None.
    """

    size: int
    sides: tuple[Side, ...]
    classes: NDArray[np.int64] | None = None
