"""Sums of the scores of units: exact, or where float64 can't hold that, the nearest to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import for_kernels
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.workers import run_all
from nmflow.units.unit import Unit, in_units

# Few enough to stay in a cache, where a conversion of their dtype copies them.
_STRIP_ENTRIES = 1 << 17
_MANTISSA_BITS = 53
# Above this not every integer is a float64.
_EXACT_FLOAT = 1 << 53
_LARGEST_INTEGER = (1 << 63) - 1

Strip = tuple[slice, slice]


def unit_sums(batch: MatrixBatch, unit: Unit, threads: int) -> NDArray[Any]:
    """The sum of the scores of each unit.

    Parameters
    ----------
    batch : MatrixBatch
    unit : tuple of int
    threads : int

    Returns
    -------
    ndarray, shape (B, ceil(R / height), ceil(C / width))
        float64, or int64 where sums of integers exceed 2**53.

    Raises
    ------
    NmflowError
        For values that are not finite, and for sums beyond float64 or, of integers, beyond int64.

    Notes
    -----
    Every sum is the float64 nearest to the exact one, ties to even: the exact one itself wherever
    float64 holds it, so always for float16, bfloat16 and float32 weights of a usual range. It does
    not depend on the order of the entries. Where the scores of a strip span so few powers of two
    that no addition can round, which is looked at as they are added, that is all; else additions
    are error-free transformations, and few units are left for unbounded fractions. Integers are
    added as integers.
    """
    floats = batch.host.bfloat16 or batch.host.values.dtype.kind == "f"
    sums = np.empty(in_units(batch.shape, unit), np.float64 if floats else np.int64)
    add = _add_floats if floats else _add_integers

    def work(strip: Strip) -> None:
        add(batch, strip, unit, sums[units_of(strip, unit)])

    run_all(work, strips(batch.shape, unit[0]), threads)
    if not floats and sums.size and max(int(sums.max()), -int(sums.min())) <= _EXACT_FLOAT:
        return sums.astype(np.float64)
    return sums


def strips(shape: tuple[int, int, int], height: int) -> Iterator[Strip]:
    """Cover a batch of matrices with whole rows of units: some matrices, or a few of one's rows."""
    matrices, rows, columns = shape
    if 0 in shape:
        return
    step = max(height, _STRIP_ENTRIES // columns // height * height)
    together = max(1, _STRIP_ENTRIES // (rows * columns))
    for b in range(0, matrices, together):
        for r in range(0, rows, step):
            yield slice(b, min(b + together, matrices)), slice(r, min(r + step, rows))


def units_of(strip: Strip, unit: Unit) -> Strip:
    """Where the units of a strip lie."""
    matrices, rows = strip
    return matrices, slice(rows.start // unit[0], -(-rows.stop // unit[0]))


def _add_floats(batch: MatrixBatch, strip: Strip, unit: Unit, sums: NDArray[Any]) -> None:
    # numba takes longer to import than all of nmflow.
    from nmflow.compiling.sparing import run_sparingly
    from nmflow.units.kernels import add, add_rounded

    values, unsigned = batch.values((*strip, slice(None)))
    values = for_kernels(values)
    # What overflows is looked at below.
    with np.errstate(over="ignore", invalid="ignore"):
        if values.dtype == np.float32:
            digits = np.iinfo(np.uint32).max >> 1
            extremes = np.array([0, digits, digits], np.uint32)
            args = values, values.view(np.uint32), unsigned, unit, sums, extremes
            run_sparingly(add, args, values.size)
            finite = np.isfinite(extremes.view(np.float32)[0])
            if finite and _no_sum_rounds(int(extremes[0]), int(extremes[1]), unit):
                return
        doubtful = np.empty(sums.shape, np.bool_)
        rounding = values, unsigned, unit, sums, np.empty(sums.shape[2]), doubtful
        run_sparingly(add_rounded, rounding, values.size)
    doubtful |= ~np.isfinite(sums)
    if not doubtful.any():
        return
    if not np.isfinite(values).all():
        batch.raise_not_finite()
    for b, i, j in np.argwhere(doubtful).tolist():
        block = _block(values, unit, b, i, j)
        sums[b, i, j] = _nearest(np.abs(block) if unsigned else block, batch, unit)


def _no_sum_rounds(largest: int, least: int, unit: Unit) -> bool:
    """Whether sums of so many float32 fit 53 bits; the bits of two of them are given."""
    fraction = np.finfo(np.float32).nmant
    # Subnormal numbers have the last digit of the least exponent above them.
    largest, least = max(largest >> fraction, 1), max(least >> fraction, 1)
    carries = (unit[0] * unit[1] - 1).bit_length()
    return largest - min(least, largest) + fraction + 1 + carries <= _MANTISSA_BITS


def _block(values: NDArray[Any], unit: Unit, b: int, i: int, j: int) -> NDArray[Any]:
    height, width = unit
    block: NDArray[Any] = values[b, i * height : (i + 1) * height, j * width : (j + 1) * width]
    return block


def _nearest(block: NDArray[Any], batch: MatrixBatch, unit: Unit) -> float:
    """The float64 nearest to the sum of a few floats."""
    try:
        return math.fsum(block.ravel().tolist())
    except OverflowError:
        pass
    try:
        return float(sum(map(Fraction, block.ravel().tolist())))
    except OverflowError:
        raise NmflowError(
            f"{batch.what}: the scores of a unit of {unit[0]} x {unit[1]} add up to more than"
            " float64 holds; scale the weights down"
        ) from None


def _add_integers(batch: MatrixBatch, strip: Strip, unit: Unit, sums: NDArray[Any]) -> None:
    scores = batch.scores((*strip, slice(None)))
    largest = max(int(scores.max()), -int(scores.min()))
    # Only where 64 bits may not do: Python's integers take a hundred times as long.
    wide = largest * unit[0] * unit[1] > _LARGEST_INTEGER
    scores = scores.astype(np.uint64 if scores.dtype == np.uint64 else np.int64)
    scores = scores.astype(object if wide else np.int64)
    for axis, size in ((1, unit[0]), (2, unit[1])):
        scores = np.add.reduceat(scores, range(0, scores.shape[axis], size), axis=axis)
    if wide and np.abs(scores).max() > _LARGEST_INTEGER:
        raise NmflowError(
            f"{batch.what}: the scores of a unit of {unit[0]} x {unit[1]} add up to more than 64"
            " bits hold; convert the weights to float64"
        )
    sums[...] = scores
