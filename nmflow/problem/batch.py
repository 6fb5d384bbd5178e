"""Validated weights as a batch of matrices of scores, and a mask's way back to their shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import HostArray, to_host
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import check_score, scores_of

# Bytes of a float32.
_NARROW = 4


@dataclass(frozen=True, slots=True)
class MatrixBatch:
    """Weights seen as B matrices of R x C, whatever their framework, dtype and axes.

    Attributes
    ----------
    host : HostArray
        The weights in host memory.
    matrices : ndarray, shape (B, R, C)
        Their values, a view where the strides allow it.
    axes : tuple of int
        The two matrix axes, non-negative.
    score : str
    pattern : Pattern
        What the mask is to be.
    """

    host: HostArray
    matrices: NDArray[Any]
    axes: tuple[int, int]
    score: str
    pattern: Pattern

    @classmethod
    def of(cls, weights: Any, pattern: Pattern, axes: Any, score: str) -> MatrixBatch:
        """Validate weights and options and look at them as matrices.

        Raises
        ------
        NmflowError
            For a dtype, shape, axes or score that can't be masked.
        """
        check_score(score)
        host = to_host(weights)
        if host.values.ndim < 2:
            what = describe(host, pattern)
            raise NmflowError(f"{what}: need at least 2 dimensions; reshape to (out, in)")
        pair = normalise_axes(axes, host.values.ndim, lambda: describe(host, pattern))
        return cls(host, as_matrices(host.values, pair), pair, score, pattern)

    @property
    def what(self) -> str:
        """How messages name the weights."""
        return describe(self.host, self.pattern)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, R, C)."""
        b, r, c = self.matrices.shape
        return b, r, c

    def scores(self, box: tuple[slice, ...]) -> NDArray[Any]:
        """The scores of a box of the batch, with the remaining axes whole.

        Raises
        ------
        NmflowError
            Where some weight is NaN or infinite, with the first such in the whole batch.
        """
        self.check_finite(box)
        return self.scores_of(self.matrices[box])

    def check_finite(self, box: tuple[slice, ...]) -> None:
        """Raise as :meth:`scores` where some weight of a box is not finite."""
        if not self.host.is_finite(self.matrices[box]):
            self.raise_not_finite()

    def scores_of(self, part: NDArray[Any]) -> NDArray[Any]:
        """The scores of some of the finite values."""
        return scores_of(self.host.decode(part), self.score)

    @property
    def has_narrow_scores(self) -> bool:
        """Whether scores are float32."""
        dtype = self.host.values.dtype
        floats = self.host.bfloat16 or (dtype.kind == "f" and dtype.itemsize <= _NARROW)
        return floats and self.score != "square"

    def values(self, box: tuple[slice, ...]) -> tuple[NDArray[Any], bool]:
        """Numbers that are the scores of a box, or are when their signs are left out; and which.

        float32, float64 or 64-bit integers. Floats may not be finite where they lie as they are.
        """
        values = self.host.decode(self.matrices[box])
        if self.score == "square" or values.dtype.kind != "f":
            return self.scores(box), False
        return values.astype(np.result_type(values, np.float32), copy=False), self.score == "abs"

    def raise_not_finite(self) -> NoReturn:
        """Raise for the first NaN or infinity, with its index in the array as the user has it."""
        values = self.host.values
        numbers = self.host.decode(np.ascontiguousarray(values))
        first = int(np.argmin(np.isfinite(numbers)))
        raise NmflowError(
            f"{self.what}: {numbers.ravel()[first]} at index {self.host.place(first)}, but all"
            " values must be finite;"
            " look for where it came from, or leave this array out"
        )

    def restore(self, mask: NDArray[np.bool_]) -> Any:
        """A mask of shape (B, R, C) in the shape, framework and device of the weights."""
        shape = self.host.values.shape
        if self.axes == (len(shape) - 2, len(shape) - 1):
            return self.host.restore(mask.reshape(shape))
        batch = tuple(size for axis, size in enumerate(shape) if axis not in self.axes)
        matrix = tuple(shape[axis] for axis in self.axes)
        whole = np.moveaxis(mask.reshape(batch + matrix), (-2, -1), self.axes)
        return self.host.restore(np.ascontiguousarray(whole))


def describe(host: HostArray, pattern: Pattern) -> str:
    """How messages name weights."""
    return f"weights of {host} for {pattern}"


def normalise_axes(axes: Any, ndim: int, what: Callable[[], str]) -> tuple[int, int]:
    """Two distinct axes as non-negative integers."""
    try:
        first, second = (int(axis) + (ndim if axis < 0 else 0) for axis in axes)
        valid = 0 <= first < ndim and 0 <= second < ndim and first != second
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise NmflowError(
            f"{what()}: axes must be two different axes from {-ndim} to {ndim - 1}, got {axes!r}"
        )
    return first, second


def matrix_shape(shape: tuple[int, ...], axes: tuple[int, int]) -> tuple[int, int, int]:
    """The shape of the batch of matrices that an array is."""
    batch = math.prod(size for axis, size in enumerate(shape) if axis not in axes)
    return batch, shape[axes[0]], shape[axes[1]]


def as_matrices(values: NDArray[Any], axes: tuple[int, int]) -> NDArray[Any]:
    """The array with the two axes last and all others merged in front."""
    last = axes == (values.ndim - 2, values.ndim - 1)
    moved = values if last else np.moveaxis(values, axes, (-2, -1))
    batch = math.prod(moved.shape[:-2])
    return moved.reshape(batch, *moved.shape[-2:])


def as_bool_matrices(mask: Any, batch: MatrixBatch, name: str) -> NDArray[np.bool_]:
    """A mask of the weights, which messages call by that name, as matrices (B, R, C).

    Raises
    ------
    NmflowError
        For another shape than the weights', and for values other than 0 and 1.
    """
    host = to_host(mask, name)
    what = f"{name} of {host} for {batch.pattern}"
    if host.values.shape != batch.host.values.shape:
        raise NmflowError(
            f"{what}: weights have shape {batch.host.values.shape}, a mask must have the same"
        )
    values = host.decode(host.values)
    if values.dtype != np.bool_:
        odd = (values != 0) & (values != 1)
        if odd.any():
            first = int(odd.argmax())
            raise NmflowError(
                f"{what}: {values.ravel()[first]} at index {host.place(first)};"
                " use True/False or 0/1"
            )
        values = values != 0
    return as_matrices(values, batch.axes)
