"""Constraints as scores: what must not be kept is worth little, what must be is worth much.

A small penalty costs the engine, which looks at few leading digits of each tile, no digit of the
scores that it has not got. It need not be enough: then :func:`nmflow.problem.constraints.penalised`
is, with one that always decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel
from nmflow.problem.pattern import Pair

# Of float32, so that a few times the largest score is one.
_LARGEST = 2.0**120


def penalise(
    scores: NDArray[Any],
    bounds: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    tile: Pair,
    factor: float,
) -> NDArray[Any]:
    """Scores with a penalty of so many times the largest of a tile.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (B, R, C), C-contiguous
        Written, if they are not too large for their type.
    bounds : (ndarray, ndarray) of bool, shape (B, R, C), C-contiguous
        What is allowed, and what is forced.
    tile : (int, int)
        Rows and columns of a tile.
    factor : float
    """
    if scores.dtype == np.float32 and np.abs(scores).max(initial=0) > _LARGEST:
        scores = scores.astype(np.float64)
    largest = np.empty(scores.shape[2], scores.dtype)
    masks = tuple(part.view(np.uint8) for part in bounds)
    _penalise_window(scores, *masks, tile, scores.dtype.type(factor), largest)
    return scores


@compile_kernel(nrt=False)
def _penalise_window(scores, allowed, forced, tile, factor, largest):
    """As :func:`penalise`."""
    height, width = tile
    for b in range(scores.shape[0]):
        for top in range(0, scores.shape[1], height):
            for x in range(largest.size):
                largest[x] = 0
            for k in range(top, top + height):
                row = scores[b, k]
                for x in range(largest.size):
                    largest[x] = max(largest[x], abs(row[x]))
            for left in range(0, largest.size, width):
                most = largest[left]
                for x in range(left + 1, left + width):
                    most = max(most, largest[x])
                penalty = most * factor if most > 0 else factor
                for x in range(left, left + width):
                    largest[x] = penalty
            for k in range(top, top + height):
                row, may, must = scores[b, k], allowed[b, k], forced[b, k]
                for x in range(largest.size):
                    kept = row[x] if may[x] else -largest[x]
                    row[x] = largest[x] if must[x] else kept
