"""Which entries a mask may keep, and which it must."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import for_kernels
from nmflow.problem.batch import MatrixBatch, as_bool_matrices

# Penalties are larger than scores, and are to be finite.
_LARGEST = 2.0**1000
_LOWERED_BITS = 64


@dataclass(frozen=True, slots=True)
class Constraints:
    """Bounds of the flow on each arc, other than 0 and 1.

    Attributes
    ----------
    allowed : ndarray of bool, shape (B, R, C)
        What may be kept: elsewhere the upper bound is 0.
    forced : ndarray of bool, shape (B, R, C)
        What must be kept: there the lower bound is 1.
    """

    allowed: NDArray[np.bool_]
    forced: NDArray[np.bool_]

    @classmethod
    def of(cls, within: Any, keep: Any, batch: MatrixBatch) -> Constraints | None:
        """Validate what a user gives; None where that is nothing.

        Raises
        ------
        NmflowError
            For arrays that are no masks of the weights, and where one forces what the other
            forbids.
        """
        if within is None and keep is None:
            return None
        allowed, forced = (
            np.broadcast_to(np.bool_(default), batch.shape)
            if part is None
            else as_bool_matrices(part, batch, name)
            for part, name, default in ((within, "within", True), (keep, "keep", False))
        )
        if within is not None and keep is not None and (odd := forced & ~allowed).any():
            place = tuple(int(i) for i in np.argwhere(odd)[0])
            raise NmflowError(
                f"{batch.what}: keep asks for entry {place[1:]} of matrix {place[0]}, which within"
                " forbids; leave one of them out"
            )
        return cls(allowed, forced)

    def of_box(self, box: tuple[slice, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_], bool]:
        """Both, of a box of the batch, C-contiguous, not to be written to; if any are forced."""
        forced = self.forced[box]
        if not any(forced.strides) and not forced[:1, :1, :1].any():
            # Broadcast: the same everywhere.
            return for_kernels(self.allowed[box]), _none(forced.shape), False
        return for_kernels(self.allowed[box]), for_kernels(forced), bool(forced.any())


@functools.lru_cache(4)
def _none(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Nothing, of that shape: to make it anew takes a twentieth of a solve."""
    return np.zeros(shape, np.bool_)


def check_scores(scores: NDArray[Any], batch: MatrixBatch) -> NDArray[Any]:
    """Scores that leave room for penalties beyond them, perhaps times a power of two.

    Raises
    ------
    NmflowError
        For 64-bit integers beyond 2**53, and for numbers from 2**1000 up beside such as a power of
        two would take digits from.
    """
    if scores.dtype.kind != "f":
        raise NmflowError(
            f"{batch.what}: scores beyond 2**53 can't be solved under constraints; convert the"
            " weights to float64"
        )
    if scores.dtype == np.float32 or np.abs(scores).max(initial=0) < _LARGEST:
        return scores
    lowered: NDArray[np.float64] = np.ldexp(scores, -_LOWERED_BITS)
    if (np.ldexp(lowered, _LOWERED_BITS) != scores).any():
        raise NmflowError(
            f"{batch.what}: scores of 2**1000 and more beside subnormal ones can't be solved under"
            " constraints; scale the weights down"
        )
    return lowered


def penalised(
    tiles: NDArray[Any],
    allowed: NDArray[np.bool_],
    forced: NDArray[np.bool_],
    decisive: bool = True,
) -> NDArray[np.float64]:
    """Scores under which every optimal mask obeys the constraints, if any mask does.

    Parameters
    ----------
    tiles : ndarray of float32 or float64, shape (..., r, c)
    allowed, forced : ndarray of bool, of the same shape
    decisive : bool
        Whether that is so of all tiles; or of nearly all, with a penalty of fewer digits.

    Notes
    -----
    Two masks of a tile differ by alternating cycles and paths, of at most r + c entries each. So a
    penalty of 2 (r + c) times the largest score decides between any two, and a power of two beyond
    that keeps all sums exact that were.
    """
    rows, columns = tiles.shape[-2:]
    scores = tiles.astype(np.float64)
    _, exponent = np.frexp(np.abs(scores).max(axis=(-2, -1), keepdims=True))
    bits = int(4 * (rows + columns)).bit_length() if decisive else 1
    penalty = np.ldexp(1.0, exponent + bits)
    return np.where(forced, penalty, np.where(allowed, scores, -penalty))


def breaks(
    masks: NDArray[np.bool_], allowed: NDArray[np.bool_], forced: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which tiles (..., r, c) keep what is forbidden, or don't keep what is forced."""
    wrong: NDArray[np.bool_] = (masks & ~allowed) | (forced & ~masks)
    return np.asarray(wrong.any(axis=(-2, -1)))
