"""What groups of a mask hold, counted by code that shares nothing with the solver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.checkpoint.bands import Band
from nmflow.problem.pattern import Pattern

_AXIS_NAMES = ("column", "row")
# Bytes of a word, and the factor that adds them up in the highest.
_WORDS = ((8, np.uint64(0x0101010101010101)), (4, np.uint32(0x01010101)))
_BYTE_BITS = 8
_MOST_IN_A_BYTE = 255


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with some groups, or matrices, of a layer.

    Attributes
    ----------
    what : str
        In words, with the place of the first.
    kind : str
        The same for all that are wrong in the same way.
    count : int
        How many there are.
    """

    what: str
    kind: str
    count: int = 1

    def __str__(self) -> str:
        return self.what.replace("#", str(self.count))


def combined(problems: Iterable[Problem]) -> list[Problem]:
    """Those of all bands of a layer, one of each kind."""
    kinds: dict[str, Problem] = {}
    for problem in problems:
        known = kinds.get(problem.kind)
        count = problem.count + (known.count if known else 0)
        kinds[problem.kind] = replace(known or problem, count=count)
    return list(kinds.values())


def count_problems(
    band: Band,
    kept: NDArray[np.bool_],
    possible: Callable[[], NDArray[np.bool_]],
    pattern: Pattern,
    filled: bool,
) -> Iterator[Problem]:
    """All groups, or matrices, of a band that hold too many or too few.

    Parameters
    ----------
    band : Band
    kept : ndarray of bool
        What is kept of its matrices, over axes (0, 1).
    possible : callable
        That, and what may be. The file can't tell a zero of the source that was kept from one that
        was pruned: it counts as pruned where there may be too many, as kept where there may be too
        few. Called if there are too few otherwise.
    pattern : Pattern
    filled : bool
        Whether every group of a full tile must also keep as many as it may.
    """
    if pattern.name == "unstructured":
        yield from _matrix_problems(kept, possible, pattern)
        return
    for axis in (0, 1):
        if pattern.name in ("transposable", ("columns", "rows")[axis]):
            yield from _group_problems(band, kept, possible, pattern, axis, filled)


def _matrix_problems(
    kept: NDArray[np.bool_], possible: Callable[[], NDArray[np.bool_]], pattern: Pattern
) -> Iterator[Problem]:
    """Each matrix, over axes (0, 1), keeps round(n/m * size)."""
    wanted = pattern.kept_of(kept.shape[0] * kept.shape[1])
    low, high = kept.sum(axis=(0, 1)), possible().sum(axis=(0, 1))
    if (low > wanted).any() or (high < wanted).any():
        what = f"a matrix does not keep {wanted} weights ({low.max()} are not zero)"
        yield Problem(what, "matrix")


def _group_problems(
    band: Band,
    kept: NDArray[np.bool_],
    possible: Callable[[], NDArray[np.bool_]],
    pattern: Pattern,
    axis: int,
    filled: bool,
) -> Iterator[Problem]:
    """No group along the axis holds more than n; those of full tiles can hold n."""
    n, m, name = pattern.n, pattern.m, _AXIS_NAMES[axis]
    counts = group_counts(kept, m, axis)
    over = np.argwhere(counts > n)
    if len(over):
        held, where = counts[tuple(over[0])], _place(band, over[0], axis, m)
        what = f"# {name} groups keep more than {n} of {m}; the first, at {where}, keeps {held}"
        yield Problem(what, f"{name} over", len(over))
    whole = tuple(slice(0, size - size % m) for size in kept.shape[:2])
    groups = list(whole)
    groups[axis] = slice(0, kept.shape[axis] // m)
    if not filled or not (counts[tuple(groups)] < n).any():
        return
    under = np.argwhere(group_counts(possible()[whole], m, axis) < n)
    if len(under):
        where = _place(band, under[0], axis, m)
        what = f"# {name} groups keep fewer than {n} of {m}; the first is at {where}"
        yield Problem(what, f"{name} under", len(under))


def _place(band: Band, index: NDArray[Any], axis: int, m: int) -> tuple[int, ...]:
    """Of a group of a band, in the layer: its row and column, one of them a group's; the matrix."""
    matrix, *tile = band.origin
    place = [int(index[a]) + tile[a] * (1 if a == axis else m) for a in (0, 1)]
    return *place, *(int(i) for i in index[2:]), *([matrix] if matrix else [])


def group_counts(kept: NDArray[np.bool_], m: int, axis: int) -> NDArray[Any]:
    """True entries in each group of m along an axis, the ragged last one included.

    Parameters
    ----------
    kept : ndarray of bool
    m, axis : int
    """
    length = kept.shape[axis]
    if kept.ndim == 2 and kept.flags.c_contiguous and length % m == 0 and m <= _MOST_IN_A_BYTE:
        octets = kept.view(np.uint8)
        if axis == 0:
            counts: NDArray[Any] = octets.reshape(-1, m, kept.shape[1]).sum(axis=1, dtype=np.uint8)
            return counts
        for size, factor in _WORDS:
            if m % size == 0:
                words = octets.reshape(-1).view(factor.dtype).reshape(-1, m // size)
                # Each byte of a sum is below 32, and all of them together below 256.
                sums = words[:, 0].copy()
                for k in range(1, m // size):
                    sums += words[:, k]
                sums *= factor
                sums >>= factor.dtype.type(_BYTE_BITS * (size - 1))
                return sums.astype(np.uint8).reshape(len(kept), -1)
    starts = np.arange(0, length, m)
    other: NDArray[Any] = np.add.reduceat(kept, starts, axis=axis, dtype=np.intp)
    return other
