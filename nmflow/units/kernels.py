"""Compiled loops over the entries of units: sums, and masks there and back."""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import compile_kernel, helper


@compile_kernel
def add(values, patterns, unsigned, unit, sums, extremes):
    """Add each unit's scores in float64, and note how far apart their last digits may lie.

    ``patterns`` are the bits of the values. ``extremes`` becomes the largest of them without signs,
    and the least but 0; behind these it holds all bits but the sign.
    """
    matrices, rows, _ = values.shape
    height, width = unit
    for b in range(matrices):
        for i in range(rows):
            widen(patterns[b, i], extremes)
            units = sums[b, i // height]
            if i % height == 0:
                units[:] = 0.0
            for k in range(width):
                add_every(values[b, i, k::width], unsigned, units)


@helper
def widen(patterns, extremes):
    """Note the largest and the least number of a row, without signs, of those that aren't 0."""
    kind = patterns.dtype.type
    largest, least, digits = extremes
    for x in range(patterns.size):
        size = kind(patterns[x] & digits)
        largest = max(largest, size)
        least = min(least, size if size != 0 else digits)
    extremes[0], extremes[1] = largest, least


@helper
def add_every(row, unsigned, units):
    """Add one entry of each unit; the last unit may have none."""
    for j in range(row.size):
        units[j] += np.float64(abs(row[j]) if unsigned else row[j])


@compile_kernel
def add_rounded(values, unsigned, unit, sums, lost, doubtful):
    """The nearest float64 to each unit's exact sum, or a mark where that is not known to be it.

    What each addition loses is added up by itself, error-free as long as no addition there loses
    anything (Knuth's TwoSum, "The art of computer programming", volume 2, section 4.2.2), so that
    the last addition is the only one that rounds. ``lost`` is room for a row of units.
    """
    matrices, rows, _ = values.shape
    height, width = unit
    for b in range(matrices):
        for i in range(rows):
            units, marks = sums[b, i // height], doubtful[b, i // height]
            if i % height == 0:
                units[:], lost[:], marks[:] = 0.0, 0.0, False
            for k in range(width):
                add_losing_nothing(values[b, i, k::width], unsigned, units, lost, marks)
            if i % height == height - 1 or i == rows - 1:
                for j in range(units.size):
                    units[j] += lost[j]


@helper
def add_losing_nothing(row, unsigned, units, lost, marks):
    """Add one entry of each unit, and what that loses to what was lost; mark what is lost there."""
    for j in range(row.size):
        units[j], error = two_sum(units[j], np.float64(abs(row[j]) if unsigned else row[j]))
        lost[j], error = two_sum(lost[j], error)
        marks[j] |= error != 0.0


@helper
def two_sum(x, y):
    """The rounded sum, and what rounding took from it."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


@compile_kernel
def spread(kept, unit, mask):
    """Write the mask of entries that a mask of units stands for."""
    matrices, rows, _ = mask.shape
    height, width = unit
    for b in range(matrices):
        for i in range(rows):
            if i % height:
                mask[b, i, :] = mask[b, i - 1]
                continue
            for k in range(width):
                row = mask[b, i, k::width]
                row[:] = kept[b, i // height, : row.size]


@compile_kernel
def count(mask, unit, held):
    """Count the kept entries of each unit."""
    matrices, rows, _ = mask.shape
    height, width = unit
    for b in range(matrices):
        for i in range(rows):
            units = held[b, i // height]
            if i % height == 0:
                units[:] = 0
            for k in range(width):
                row = mask[b, i, k::width]
                for j in range(row.size):
                    units[j] += row[j]
