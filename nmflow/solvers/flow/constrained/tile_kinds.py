"""What constraints leave open in each tile, from counts of rows and columns alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel, helper
from nmflow.problem.pattern import Pair

FITTING, FULL, EXACT, BY_ROWS, BY_COLUMNS, SHORT, OVERFULL, SOLVED = range(8)
"""No row and column has more allowed entries than it may hold; all have as many; none has fewer;
some line has fewer, and rows alone have more, columns alone, or both; some has more forced entries
than it may hold. Or the mask is written."""

# Bits of a tile with lines of fewer allowed entries than they should hold, with rows of more and
# with columns of more; of forced ones only more matter.
ALLOWED, FORCED = (1, 2, 4), (0, 8, 8)
_OF_ALLOWED = [FULL, FITTING, EXACT, BY_ROWS, EXACT, BY_COLUMNS, EXACT, SHORT]
_KINDS = np.array([*_OF_ALLOWED, *[OVERFULL] * 8], np.uint8)


def sort_tiles(
    allowed: NDArray[np.bool_], forced: NDArray[np.bool_] | None, tile: Pair, n: Pair
) -> NDArray[np.uint8]:
    """The kind of each tile of a window.

    Parameters
    ----------
    allowed, forced : ndarray of bool, shape (B, R, C), C-contiguous
        None is forced where that is None.
    tile : (int, int)
        Rows and columns of a tile.
    n : (int, int)
        What rows hold, and what columns do.

    Returns
    -------
    ndarray of uint8, shape (B, I, J)
        One of the above but the last.
    """
    b, rows, columns = allowed.shape
    kinds = np.zeros((b, rows // tile[0], columns // tile[1]), np.uint8)
    counts, flags = np.empty(columns, np.uint16), np.empty((1, columns), np.bool_)
    _, words, _ = _words(flags, tile[1])
    lines = counts, flags[0].view(np.uint8), words[0]
    held = np.empty((2, kinds.shape[2]), words.dtype)
    _count_window(*_words(allowed, tile[1]), n, ALLOWED, lines, held, kinds)
    if forced is not None:
        _count_window(*_words(forced, tile[1]), n, FORCED, lines, held, kinds)
    _name(kinds.reshape(-1), _KINDS)
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
def _count_window(mask, words, adder, n, constraint, lines, held, seen):
    """Note what rows and columns of each tile have of a constraint: shape (B, I, J), bits.

    ``lines`` and ``held`` are scratch memory: for each column its count, and a byte, also as words;
    for each tile the fewest and the most entries of a row.
    """
    _, down, across = seen.shape
    height = mask.shape[1] // down
    counts, (fewest, most) = lines[0], (held[0], held[1])
    for b in range(seen.shape[0]):
        for i in range(down):
            counts[:] = 0
            fewest[:] = mask.shape[2]
            most[:] = 0
            for k in range(i * height, (i + 1) * height):
                row = mask[b, k]
                for x in range(counts.size):
                    counts[x] += np.uint16(row[x])
                if words.shape[2] == across:
                    span_words(words[b, k], adder, fewest, most)
                elif words.shape[2]:
                    span_wide(words[b, k], adder, fewest, most)
                else:
                    span_entries(row, fewest, most)
            note_rows(fewest, most, n[0], constraint, seen[b, i])
            note_columns(counts, n[1], lines, adder, constraint, seen[b, i])


@compile_kernel(nrt=False)
def _name(seen, kinds):
    """The kind of each tile instead of its bits."""
    for t in range(seen.size):
        seen[t] = kinds[seen[t]]


@helper
def span_words(words, adder, fewest, most):
    """The fewest and the most entries of a row, of tiles that are a word wide."""
    for t in range(fewest.size):
        held = sum_of_bytes(words[t], adder)
        fewest[t] = held if held < fewest[t] else fewest[t]
        most[t] = held if held > most[t] else most[t]


@helper
def span_wide(words, adder, fewest, most):
    """As :func:`span_words`, of tiles that are a few words wide."""
    span = words.size // fewest.size
    for t in range(fewest.size):
        word = words[t * span]
        for k in range(t * span + 1, (t + 1) * span):
            word += words[k]
        held = sum_of_bytes(word, adder)
        fewest[t] = held if held < fewest[t] else fewest[t]
        most[t] = held if held > most[t] else most[t]


@helper
def span_entries(row, fewest, most):
    """As :func:`span_words`, of tiles whose width is no number of words."""
    width = row.size // fewest.size
    for t in range(fewest.size):
        held = 0
        for x in range(t * width, (t + 1) * width):
            held += int(row[x])
        fewest[t] = min(held, fewest[t])
        most[t] = max(held, most[t])


@helper
def note_rows(fewest, most, wanted, constraint, of_tile):
    """Note of each tile whether rows have fewer than they should hold, and more."""
    fewer, more, _ = constraint
    for t in range(of_tile.size):
        of_tile[t] |= compare(fewest[t], wanted, fewer, 0) | compare(most[t], wanted, 0, more)


@helper
def note_columns(counts, wanted, lines, adder, constraint, of_tile):
    """Note of each tile whether columns have fewer than they should hold, and more."""
    fewer, _, more = constraint
    _, flags, words = lines
    width = counts.size // of_tile.size
    if words.size:
        span = words.size // of_tile.size
        for x in range(counts.size):
            # Sums of up to eight fit the two halves of a byte.
            flags[x] = compare(counts[x], wanted, 1, 16)
        if span == 1:
            for t in range(of_tile.size):
                of_tile[t] |= marks_of(words[t], adder, fewer, more)
            return
        for t in range(of_tile.size):
            for k in range(t * span, (t + 1) * span):
                of_tile[t] |= marks_of(words[k], adder, fewer, more)
    else:
        for t in range(of_tile.size):
            for x in range(t * width, (t + 1) * width):
                of_tile[t] |= compare(counts[x], wanted, fewer, more)


@helper
def marks_of(flags, adder, fewer, more):
    """Whether any of the columns of a word has fewer than it should, and more."""
    wrong = sum_of_bytes(flags, adder)
    return compare(0, wrong & 15, fewer, 0) | compare(0, wrong >> 4, more, 0)


@intrinsic
def multiply(typingctx, x, y):
    """A product in as many bits as its factors, where numba widens those of 32."""

    def codegen(context, builder, signature, args):
        return builder.mul(*args)

    return x(x, x), codegen


@helper
def sum_of_bytes(word, adder):
    """The sum of the bytes of a word: the uppermost byte of its product with ones."""
    ones, shift = adder
    return multiply(word, ones) >> shift


@helper
def compare(held, most, fewer, more):
    """Bits of a line that has fewer than it should hold, and of one that has more."""
    return np.uint8((fewer if held < most else 0) | (more if held > most else 0))
