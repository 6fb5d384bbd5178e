"""Cholesky factors of many small matrices: where they lie, and without copies on the host."""

from __future__ import annotations

from typing import Any

import torch
from scipy.linalg import get_lapack_funcs


def factored(matrices: Any) -> HostFactors | DeviceFactors | None:
    """Factors of symmetric matrices (count, size, size), which are overwritten.

    Returns
    -------
    HostFactors, DeviceFactors or None
        None if one is not positive definite.
    """
    kind = HostFactors if matrices.device.type == "cpu" else DeviceFactors
    return kind.of(matrices)


class HostFactors:
    """By LAPACK, in place, one matrix after the other.

    PyTorch's batched factors are the same, but it copies each matrix to the order of columns and
    back, which takes three times as long as the factor.
    """

    def __init__(self, matrices: Any, solve: Any) -> None:
        self._matrices = matrices
        self._solve = solve

    @classmethod
    def of(cls, matrices: Any) -> HostFactors | None:
        """See :func:`factored`."""
        arrays = matrices.numpy()
        factor, solve = get_lapack_funcs(("potrf", "potrs"), dtype=arrays.dtype)
        for array in arrays:
            # A symmetric matrix is its transpose, which is in the order of columns.
            _, info = factor(array.T, lower=True, clean=False, overwrite_a=True)
            if info:
                return None
        return cls(arrays, solve)

    def solve(self, right: Any) -> Any:
        """The solutions (count, size) for right sides of that shape."""
        found = right.to(torch.from_numpy(self._matrices[:0]).dtype).numpy().copy()
        for matrix, row in zip(self._matrices, found, strict=True):
            row[:] = self._solve(matrix.T, row, lower=True)[0]
        return torch.from_numpy(found)


class DeviceFactors:
    """By PyTorch, all matrices at once."""

    def __init__(self, factor: Any) -> None:
        self._factor = factor

    @classmethod
    def of(cls, matrices: Any) -> DeviceFactors | None:
        """See :func:`factored`."""
        factor, info = torch.linalg.cholesky_ex(matrices)
        return None if bool(info.any()) else cls(factor)

    def solve(self, right: Any) -> Any:
        """The solutions (count, size) for right sides of that shape."""
        cut = right.to(self._factor.dtype)
        return torch.cholesky_solve(cut[:, :, None], self._factor)[:, :, 0]
