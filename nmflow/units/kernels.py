"""Compiled loops over the entries of units: sums, and masks there and back."""

from __future__ import annotations

import numpy as np

from nmflow.compiling.jit import compile_kernel, helper


@compile_kernel
def add(values, patterns, unsigned, unit, sums, extremes):
    """Add each unit's scores in float64, and note how far apart their last digits may lie.

    ``patterns`` are the bits of the values. ``extremes`` becomes the largest of them without signs,
    and the least but 0.
    """
    matrices, rows, columns = values.shape
    height, width = unit
    kind = patterns.dtype.type
    digits = extremes[1]
    largest, least = kind(0), digits
    for b in range(matrices):
        for i in range(rows):
            for x in range(columns):
                size = kind(patterns[b, i, x] & digits)
                largest = max(largest, size)
                least = min(least, size if size != 0 else digits)
            add_row(values[b, i], unsigned, width, i % height == 0, sums[b, i // height])
    extremes[0], extremes[1] = largest, least


@helper
def add_row(row, unsigned, width, first, sums):
    """Add a row of entries to the sums of its units, or begin them."""
    columns = row.size
    for j in range(sums.size):
        total = 0.0 if first else sums[j]
        for x in range(j * width, min(j * width + width, columns)):
            total += np.float64(abs(row[x]) if unsigned else row[x])
        sums[j] = total


@compile_kernel
def add_rounded(values, unsigned, unit, sums, doubtful):
    """The nearest float64 to each unit's exact sum, or a mark where that is not known to be it.

    What each addition loses is added up by itself, error-free as long as no addition there loses
    anything (Knuth's TwoSum, "The art of computer programming", volume 2, section 4.2.2), so that
    the last addition is the only one that rounds.
    """
    matrices, rows, columns = values.shape
    height, width = unit
    for b in range(matrices):
        for i in range(sums.shape[1]):
            for j in range(sums.shape[2]):
                total = lost = 0.0
                exact = True
                for y in range(i * height, min(i * height + height, rows)):
                    for x in range(j * width, min(j * width + width, columns)):
                        value = values[b, y, x]
                        total, error = two_sum(total, np.float64(abs(value) if unsigned else value))
                        lost, error = two_sum(lost, error)
                        exact &= error == 0.0
                sums[b, i, j] = total + lost
                doubtful[b, i, j] = not exact


@helper
def two_sum(x, y):
    """The rounded sum, and what rounding took from it."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


@compile_kernel
def spread(kept, unit, mask):
    """Write the mask of entries that a mask of units stands for."""
    matrices, rows, columns = mask.shape
    height, width = unit
    for b in range(matrices):
        for i in range(rows):
            row = mask[b, i]
            if i % height:
                row[:] = mask[b, i - 1]
                continue
            units = kept[b, i // height]
            for j in range(units.size):
                for x in range(j * width, min(j * width + width, columns)):
                    row[x] = units[j]


@compile_kernel
def count(mask, unit, held):
    """Count the kept entries of each unit."""
    matrices, rows, columns = mask.shape
    height, width = unit
    for b in range(matrices):
        for i in range(rows):
            units = held[b, i // height]
            if i % height == 0:
                units[:] = 0
            for j in range(units.size):
                for x in range(j * width, min(j * width + width, columns)):
                    units[j] += mask[b, i, x]
