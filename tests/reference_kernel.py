"""A fixed piece of work to measure speed by: never to be changed, or what it gives is void."""

import numba
import numpy as np


@numba.njit(nogil=True)
def sort_rows(weights, row):
    """Sort the absolute values of each m consecutive weights by insertion, one at a time.

    Returns a sum over them, so that no work can be left out.
    """
    total = 0.0
    m = row.size
    for first in range(0, weights.size - m + 1, m):
        for k in range(m):
            value = abs(weights[first + k])
            j = k
            while j > 0 and row[j - 1] < value:
                row[j] = row[j - 1]
                j -= 1
            row[j] = value
        total += row[m // 2]
    return total


def run(weights, m):
    """The reference's work on a matrix at a group of m."""
    return sort_rows(weights.ravel(), np.empty(m, weights.dtype))
