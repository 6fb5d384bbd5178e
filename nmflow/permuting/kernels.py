"""Kernels that lay out a group's columns with others in their place, and add up what is kept."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel


@compile_kernel
def lay_out(
    scores: NDArray[Any],
    starts: NDArray[Any],
    places: NDArray[Any],
    candidates: NDArray[Any],
    out: NDArray[Any],
    m: int,
) -> None:
    """Write every group with every candidate in place of one of its columns, side by side.

    Parameters
    ----------
    scores : ndarray, shape (R, N)
    starts : ndarray of int, shape (G,)
        The first column of each group.
    places : ndarray of int, shape (G,)
        Which column of the group, counted from its first, is replaced.
    candidates : ndarray of int, shape (K,)
        The columns that take its place.
    out : ndarray, shape (R, G * K * m)
        Written in this order.
    m : int
    """
    rows, count = len(out), len(candidates)
    for row in range(rows):
        for group in range(len(starts)):
            line = out[row, group * count * m : (group + 1) * count * m]
            for lane in range(m):
                line[lane] = scores[row, starts[group] + lane]
            filled = m
            while filled < len(line):
                more = min(filled, len(line) - filled)
                for i in range(more):
                    line[filled + i] = line[i]
                filled += more
            for k in range(count):
                line[k * m + places[group]] = scores[row, candidates[k]]


@compile_kernel
def add_kept(scores: NDArray[Any], mask: NDArray[Any], totals: NDArray[Any]) -> None:
    """Add what a mask keeps of each column to its total.

    Parameters
    ----------
    scores : ndarray, shape (R, C)
    mask : ndarray of uint8, shape (R, C)
    totals : ndarray of float64, shape (C,)
    """
    for row in range(len(scores)):
        for column in range(len(totals)):
            totals[column] += scores[row, column] * mask[row, column]
