"""How many weights of each group are not zero, and the sparsest n:m that holds of all groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.models import Layout

SIZES = (2, 4, 8, 16, 32)
"""Lengths m of groups that are looked at."""

Ratio = tuple[int, int]
"""n and m."""


@dataclass(frozen=True, slots=True)
class Found:
    """What n:m the zeros of a tensor have.

    Attributes
    ----------
    size, zeros : int
        Entries, and how many of them are 0, of either sign.
    most : (dict, dict)
        For each m that rows, or columns, have so many entries of: how many entries any group
        along them holds at most.
    """

    size: int
    zeros: int
    most: tuple[dict[int, int], dict[int, int]]

    @property
    def rows(self) -> Ratio | None:
        """The sparsest n:m of all groups along rows: of the least n/m, then of the least m.

        None where of every length some group is full.
        """
        return _sparsest(self.most[0])

    @property
    def columns(self) -> Ratio | None:
        """The same along columns."""
        return _sparsest(self.most[1])

    @property
    def both(self) -> Ratio | None:
        """The same of both together."""
        rows, columns = self.most
        return _sparsest({m: max(n, columns[m]) for m, n in rows.items() if m in columns})

    @property
    def share(self) -> float:
        """The part of the entries that is 0."""
        return self.zeros / self.size if self.size else 0.0

    def __str__(self) -> str:
        if self.both is not None:
            text = f"{_colon(self.both)} both ways"
            sparser = [
                f"{_colon(one)} {name}"
                for name, one in (("rows", self.rows), ("columns", self.columns))
                if one is not None and one[0] * self.both[1] < self.both[0] * one[1]
            ]
            return ", ".join([text, *sparser])
        for name, one in (("rows", self.rows), ("columns", self.columns)):
            if one is not None:
                return f"{_colon(one)} {name} only"
        return "none"


def kept_matrices(bits: NDArray[Any], layout: Layout) -> NDArray[np.bool_]:
    """Which entries of a tensor are not 0, as matrices (out, in) over axes (0, 1).

    ``bits`` are those that :meth:`nmflow.checkpoint.Model.read_bits` reads. Without its sign there
    is nothing left of a zero.
    """
    kept: NDArray[np.bool_] = layout.matrices(bits << 1 != 0)
    return np.moveaxis(kept, layout.matrix_axes(bits.ndim), (0, 1))


def find(kept: NDArray[np.bool_], sizes: Sequence[int] = SIZES) -> Found:
    """The sparsest n:m of a tensor's matrices.

    Parameters
    ----------
    kept : ndarray of bool, shape (out, in, ...)
    sizes : sequence of int
        The m that are looked at.
    """
    zeros = kept.size - int(np.count_nonzero(kept))
    rows, columns = (_most_held(kept, sorted(sizes), axis) for axis in (1, 0))
    return Found(kept.size, zeros, (rows, columns))


def _most_held(kept: NDArray[np.bool_], sizes: Sequence[int], axis: int) -> dict[int, int]:
    """The most that any group of each length holds, along an axis."""
    found: dict[int, int] = {}
    # Groups are counted from groups that they are made of, which are fewer than entries.
    counted: dict[int, NDArray[Any]] = {1: kept}
    for m in sizes:
        if m > kept.shape[axis]:
            break  # a part of a group says nothing
        divisor = max(d for d in counted if m % d == 0)
        starts = range(0, counted[divisor].shape[axis], m // divisor)
        counted[m] = np.add.reduceat(counted[divisor], starts, axis=axis, dtype=np.int32)
        found[m] = int(counted[m].max(initial=0))
    return found


def _sparsest(most: dict[int, int]) -> Ratio | None:
    """n:m of the least n/m below 1; a group must hold something, if only in name."""
    ratios = [(max(n, 1), m) for m, n in sorted(most.items()) if n < m]
    return min(ratios, key=lambda one: one[0] / one[1], default=None)


def _colon(ratio: Ratio) -> str:
    return f"{ratio[0]}:{ratio[1]}"
