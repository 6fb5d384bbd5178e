"""Weights -> scores: what a mask is to keep as much of as possible."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError

ScoreName = Literal["abs", "square", "raw"]
SCORES: tuple[str, ...] = get_args(ScoreName)

# Above this not every integer is a float64.
_EXACT_FLOAT = 1 << 53
# Bytes of a float32.
_NARROW = 4
# The largest integer whose square fits 64 bits.
_EXACT_SQUARE = (1 << 32) - 1


def check_score(score: str) -> None:
    """Raise unless ``score`` is one of the three names."""
    if score not in SCORES:
        raise NmflowError(f"unknown score {score!r}: choose one of {', '.join(map(repr, SCORES))}")


def scores_of(values: NDArray[Any], score: str) -> NDArray[Any]:
    """The scores of finite weights: float32 or float64, or 64-bit integers where those say more.

    ``abs`` and ``raw`` are exact for every dtype. ``square`` is exact for 64-bit integers and for
    floats of up to 26 significant bits (float16, bfloat16, float32); of float64 weights it is the
    float64 product, rounded once.

    Raises
    ------
    NmflowError
        Where a square overflows: a finite weight must not become an infinite score.
    """
    if values.dtype.kind == "f":
        # float32 holds every float16 and bfloat16, but not the square of a float32.
        narrow = values.dtype.itemsize <= _NARROW and score != "square"
        dtype = np.float32 if narrow else np.float64
        # What is computed from values is new; values themselves are the caller's.
        return _float_scores(values.astype(dtype, copy=score == "raw"), score)
    return _integer_scores(values, score)


def _float_scores(values: NDArray[Any], score: str) -> NDArray[Any]:
    if score == "raw":
        return values
    if score == "abs":
        magnitudes: NDArray[Any] = np.abs(values)
        return magnitudes
    with np.errstate(over="ignore", under="ignore"):
        squares: NDArray[Any] = values * values
    if not np.isfinite(squares).all():
        worst = float(np.abs(values).max())
        raise NmflowError(
            f"score='square' overflows float64 (largest |weight| is {worst:g}):"
            " scale the weights down, or use score='abs'"
        )
    return squares


def _integer_scores(values: NDArray[Any], score: str) -> NDArray[Any]:
    if score == "raw":
        wide = values.astype(np.uint64 if values.dtype.kind == "u" else np.int64)
    else:
        wide = _magnitudes(values)
        if score == "square":
            largest = int(wide.max(initial=0))
            if largest > _EXACT_SQUARE:
                raise NmflowError(
                    f"score='square' overflows 64 bits (largest |weight| is {largest}):"
                    " use score='abs', or convert the weights to float64"
                )
            wide = wide * wide
    if wide.size and (wide.max() > _EXACT_FLOAT or wide.min() < -_EXACT_FLOAT):
        return wide
    return wide.astype(np.float64)


def _magnitudes(values: NDArray[Any]) -> NDArray[np.uint64]:
    if values.dtype.kind in "ub":
        return values.astype(np.uint64)
    wide = values.astype(np.int64)
    # In two's complement ~x = -x - 1 never overflows, where -x does at the smallest integer.
    flipped = np.where(wide < 0, ~wide, wide).astype(np.uint64)
    return flipped + (wide < 0).astype(np.uint64)
