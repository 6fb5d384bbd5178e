"""Scores of any range as Python integers, and the tie rule as their last digits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem import ties

# Beyond the exponent of any float64.
_NO_EXPONENT = 1 << 14


def exact_integers(scores: NDArray[Any]) -> NDArray[Any]:
    """Each tile's scores as Python integers, times one power of two; nothing is lost.

    Parameters
    ----------
    scores : ndarray, shape (T, r, c)

    Returns
    -------
    ndarray of object, shape (T, r, c)
        The smallest such integers.
    """
    if scores.dtype.kind != "f":
        return scores.astype(object)
    mantissa, exponent = np.frexp(scores.astype(np.float64))
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    _, lowest = np.frexp((whole & -whole).astype(np.float64))
    trailing = np.maximum(lowest - 1, 0)
    unit = np.where(whole == 0, _NO_EXPONENT, exponent + trailing)
    unit -= np.where(whole == 0, unit, unit.min(axis=(1, 2), keepdims=True))
    shifted: NDArray[Any] = (whole >> trailing).astype(object) << unit.astype(object)
    return shifted


def unique_integers(scores: NDArray[Any]) -> NDArray[Any]:
    """Integers whose optimal mask is unique: that of the scores and of the tie rule.

    From the most significant: the scores as integers, the tables in their order, and a power of
    two per position in row-major order, under which any two masks differ.
    """
    rows, columns = scores.shape[1:]
    value = exact_integers(scores)
    table_bits = ties.TABLE_BITS + max(rows, columns).bit_length()
    for index in range(ties.TABLES):
        value = (value << table_bits) + ties.table(index, rows, columns).astype(object)
    size = rows * columns
    position = np.arange(size, dtype=object).reshape(rows, columns)
    unique: NDArray[Any] = (value << size) + (1 << (size - 1 - position))
    return unique
