"""Constraints as scores: what must not be kept is worth little, what must be is worth much.

A small penalty costs the engine, which looks at few leading digits of each tile, hardly a digit of
the scores. It need not be enough: then :func:`nmflow.problem.constraints.penalised` is, with one
that always decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper, unaliased
from nmflow.problem.pattern import Pair
from nmflow.simd.tile_shape import ROW

# Of float32, so that a few times the largest score is one.
_LARGEST = np.float32(2.0**120)


def penalise(
    values: NDArray[Any],
    unsigned: bool,
    bounds: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    tile: Pair,
    factor: float,
) -> NDArray[Any] | None:
    """Scores with a penalty of so many times the largest of a tile, or of a few side by side.

    The engine reads 16 columns at a time in one number format, so that these may as well share it.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (B, R, C), C-contiguous
    unsigned : bool
        Whether the scores are these without their signs.
    bounds : (ndarray, ndarray) of bool, shape (B, R, C), C-contiguous
        What is allowed, and what is forced.
    tile : (int, int)
        Rows and columns of a tile.
    factor : float

    Returns
    -------
    ndarray of float32 or float64, shape (B, R, C), or None
        float64 where a penalty may be too large for float32; None if some value is not finite.
    """
    bits = np.uint32 if values.dtype == np.float32 else np.uint64
    digits = bits(np.iinfo(bits).max >> 1)
    scores = np.empty(values.shape, values.dtype)
    largest = np.empty(values.shape[2], bits)
    masks = tuple(part.view(np.uint8) for part in bounds)
    most = _penalise_window(
        *(values, values.view(bits), digits if unsigned else ~bits(0)),
        *(*masks, bool(bounds[1].any()), tile, values.dtype.type(factor)),
        *(largest, largest.view(values.dtype), digits, scores, scores.view(bits)),
    )
    if not _is_finite(most, values):
        return None
    if values.dtype == np.float32 and most > _LARGEST.view(np.uint32):
        return penalise(values.astype(np.float64), unsigned, bounds, tile, factor)
    return scores


def _is_finite(most: Any, values: NDArray[Any]) -> bool:
    """Whether the largest magnitude among the bits of floats is a finite one's."""
    return bool(most < np.array(np.inf, values.dtype).view(f"u{values.itemsize}"))


@compile_kernel(nrt=False)
def _penalise_window(
    values, value_bits, read_as, allowed, forced, any_forced, tile, factor,
    largest, penalties, digits, scores, score_bits,
):  # fmt: skip
    """As :func:`penalise`; writes the scores, and returns the largest magnitude as bits.

    Floats are read and compared as bits, in loops of which LLVM makes vectors: ``read_as`` are
    those that a score has, ``digits`` all but the sign. ``largest`` and ``penalties``, ``scores``
    and ``score_bits`` are the same memory.
    """
    height, width = tile
    span, most = width * max(ROW // width, 1), digits & ~digits
    for b in range(values.shape[0]):
        for top in range(0, values.shape[1], height):
            for x in range(largest.size):
                largest[x] = 0
            for k in range(top, top + height):
                widen(value_bits[b, k], digits, largest)
            for left in range(0, penalties.size, span):
                found = level(largest[left : left + span], penalties[left : left + span], factor)
                most = max(most, found)
            for k in range(top, top + height):
                select(value_bits[b, k], read_as, allowed[b, k], largest, digits, score_bits[b, k])
                if any_forced:
                    force(penalties, forced[b, k], scores[b, k])
    return most


@unaliased
def widen(row, digits, largest):
    """The largest magnitudes of columns, with those of a row."""
    for x in range(largest.size):
        size = row[x] & digits
        largest[x] = size if size > largest[x] else largest[x]


@helper
def level(largest, penalties, factor):
    """So many times the largest of some magnitudes, which is returned, instead of each of them."""
    most = largest[0]
    for x in range(largest.size):
        most = max(most, largest[x])
    largest[0] = most
    penalty = penalties[0] * factor if most > 0 else factor
    for x in range(penalties.size):
        penalties[x] = penalty
    return most


@unaliased
def select(row, read_as, allowed, penalties, digits, scores):
    """The scores of a row where they are allowed, and else penalties, negative."""
    for x in range(scores.size):
        scores[x] = row[x] & read_as if allowed[x] != 0 else penalties[x] | ~digits


@unaliased
def force(penalties, forced, scores):
    """Penalties instead of the scores of a row where they are forced."""
    for x in range(scores.size):
        scores[x] = penalties[x] if forced[x] != 0 else scores[x]
