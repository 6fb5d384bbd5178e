"""What constraints leave open in each tile, from counts of rows and columns alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.problem.pattern import Pair

FITTING, FULL, EXACT, SHORT, OVERFULL = range(5)
"""No row and column has more allowed entries than it may hold; all have as many; none has fewer;
some has fewer, others more; some has more forced ones than it may hold."""

# Bits of a tile with lines of fewer and of more allowed entries than they should hold; of forced
# ones only more matter.
ALLOWED, FORCED = (1, 2), (0, 4)
_KINDS = np.array([FULL, FITTING, EXACT, SHORT, *[OVERFULL] * 4], np.uint8)


def sort_tiles(
    allowed: NDArray[np.bool_], forced: NDArray[np.bool_], tile: Pair, n: Pair
) -> NDArray[np.uint8]:
    """The kind of each tile of a window.

    Parameters
    ----------
    allowed, forced : ndarray of bool, shape (B, R, C), C-contiguous
    tile : (int, int)
        Rows and columns of a tile.
    n : (int, int)
        What rows hold, and what columns do.

    Returns
    -------
    ndarray of uint8, shape (B, I, J)
        FITTING, FULL, EXACT, SHORT or OVERFULL.
    """
    b, rows, columns = allowed.shape
    kinds = np.zeros((b, rows // tile[0], columns // tile[1]), np.uint8)
    counts, flags = np.empty(columns, np.uint16), np.empty((1, columns), np.bool_)
    lines = counts, *_words(flags, tile[1])[:2]
    _count_window(*_words(allowed, tile[1]), n, ALLOWED, lines, kinds)
    if forced.any():
        _count_window(*_words(forced, tile[1]), n, FORCED, lines, kinds)
    kinds[...] = _KINDS[kinds]
    return kinds


def _words(
    mask: NDArray[np.bool_], width: int
) -> tuple[NDArray[Any], NDArray[Any], tuple[Any, Any]]:
    """A mask as bytes, and as words of four or eight where tiles are as many wide; see below.

    With the factor and the shift by which :func:`sum_of_bytes` adds up a word.
    """
    counted: NDArray[np.uint8] = mask.view(np.uint8)
    kind = np.uint64 if width % 8 == 0 else np.uint32
    bits = 8 * np.dtype(kind).itemsize
    adder = kind(((1 << bits) - 1) // 255), kind(bits - 8)
    if width % 4:
        return counted, np.empty((*mask.shape[:-1], 0), kind), adder
    return counted, counted.view(kind), adder


@compile_kernel(nrt=False)
def _count_window(mask, words, adder, n, constraint, lines, seen):
    """Note what rows and columns of each tile have of a constraint: shape (B, I, J), bits."""
    _, down, across = seen.shape
    height, width = mask.shape[1] // down, mask.shape[2] // across
    fewer, more = constraint
    counts = lines[0]
    for b in range(seen.shape[0]):
        for i in range(down):
            of_tile = seen[b, i]
            for x in range(counts.size):
                counts[x] = 0
            for k in range(i * height, (i + 1) * height):
                row = mask[b, k]
                for x in range(counts.size):
                    counts[x] += np.uint16(row[x])
                if words.shape[2] == across:
                    for t in range(across):
                        of_tile[t] |= compare(
                            sum_of_bytes(words[b, k, t], adder), n[0], fewer, more
                        )
                else:
                    for t in range(across):
                        held = count_entries(row, words[b, k], adder, t, width)
                        of_tile[t] |= compare(held, n[0], fewer, more)
            note_columns(counts, n[1], lines, adder, constraint, of_tile)


@helper
def note_columns(counts, most, lines, adder, constraint, of_tile):
    """Note of each tile whether columns have fewer than they should hold, and more."""
    fewer, more = constraint
    flags, words = lines[1][0], lines[2][0]
    width = counts.size // of_tile.size
    if words.size == of_tile.size:
        for x in range(counts.size):
            # Sums of up to eight fit the two halves of a byte.
            flags[x] = compare(counts[x], most, 1, 16)
        for t in range(of_tile.size):
            wrong = sum_of_bytes(words[t], adder)
            of_tile[t] |= compare(0, wrong & 15, fewer, 0) | compare(0, wrong >> 4, more, 0)
    else:
        for t in range(of_tile.size):
            for x in range(t * width, (t + 1) * width):
                of_tile[t] |= compare(counts[x], most, fewer, more)


@helper
def sum_of_bytes(word, adder):
    """The sum of the bytes of a word: the uppermost byte of its product with ones."""
    ones, shift = adder
    # numba multiplies words of 32 bits in 64.
    return int((word * ones) >> shift) & 255


@helper
def count_entries(row, words, adder, t, width):
    """How many entries of a row a tile has."""
    held = 0
    if words.size:
        span = words.size // (row.size // width)
        for k in range(t * span, (t + 1) * span):
            held += sum_of_bytes(words[k], adder)
    else:
        for x in range(t * width, (t + 1) * width):
            held += int(row[x])
    return held


@helper
def compare(held, most, fewer, more):
    """Bits of a line that has fewer than it should hold, and of one that has more."""
    return np.uint8((fewer if held < most else 0) | (more if held > most else 0))
