"""Rows of a window and what lies across them: prices of tiles spread out, entries counted by tiles.

Loops over all columns of a window are what LLVM makes vector instructions of, and tiles are too
narrow for that. So what belongs to a tile becomes an entry for each of its columns, by doubling,
and what is to be added up over its columns becomes one number, by halving.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.compiling.jit import helper, unaliased
from nmflow.compiling.structs import Struct
from nmflow.problem.prices import Prices

# Counts up to this fit a byte, four of them a word.
_MOST_OF_A_BYTE = 255
_BYTES = 4
_LOWEST_BITS = np.uint32(0x01010101)


class Lines(Struct):
    """Memory for a row of a window, and for what is counted in a row of tiles.

    Attributes
    ----------
    price, spare_price : ndarray of float32 or float64, shape (C,)
        Of the row that each entry is in; and for anything.
    words, spare : ndarray of uint32, shapes (C r / packed,), (C r / packed,)
        The entries of a row of tiles, so many to a word; and for anything.
    held : ndarray of uint32, shape (C / packed,)
        How many of each column are kept, as many to a word.
    held_bytes : ndarray of uint8
        The same memory.
    by_column, flags : ndarray of uint32, shape (C,)
        The same, one to a word; and what is wrong in a column.
    by_row, by_tile : ndarray of uint32, shapes (r J,), (J,)
        How many each row of each tile keeps; and what is wrong in a tile.
    packed : int
        How many entries are counted in a word: 4, or 1.
    """

    price: NDArray[Any]
    spare_price: NDArray[Any]
    words: NDArray[np.uint32]
    spare: NDArray[np.uint32]
    held: NDArray[np.uint32]
    held_bytes: NDArray[np.uint8]
    by_column: NDArray[np.uint32]
    flags: NDArray[np.uint32]
    by_row: NDArray[np.uint32]
    by_tile: NDArray[np.uint32]
    packed: int

    @classmethod
    def of(cls, columns: int, tile: tuple[int, int], dtype: Any) -> Lines:
        """For windows of so many columns."""
        packed = packing(tile)
        words, tiles = tile[0] * columns // packed, columns // tile[1]
        held, rows = np.empty(words // tile[0], np.uint32), np.empty(tile[0] * tiles, np.uint32)
        return cls(
            *np.empty((2, columns), dtype),
            np.empty(words, np.uint32),
            np.empty(max(words, columns), np.uint32),
            held,
            held.view(np.uint8),
            *np.empty((2, columns), np.uint32),
            rows,
            np.empty(tiles, np.uint32),
            packed,
        )


@contextlib.contextmanager
def lines_for(columns: int, tile: tuple[int, int], dtype: Any) -> Iterator[Lines]:
    """Memory as :meth:`Lines.of` makes it, for a while; then it serves others of its kind."""
    key = columns, tile, np.dtype(dtype)
    if len(_free) > _MOST_KINDS:
        _free.clear()
    free = _free.setdefault(key, [])
    lines = free.pop() if free else Lines.of(*key)
    yield lines
    free.append(lines)


_free: dict[Any, list[Lines]] = {}
_MOST_KINDS = 16


def packing(tile: tuple[int, int]) -> int:
    """How many entries of such tiles are counted in a word."""
    return _BYTES if tile[1] % _BYTES == 0 and max(tile) <= _MOST_OF_A_BYTE else 1


def words_of(mask: NDArray[np.bool_], tile: tuple[int, int]) -> NDArray[np.uint32]:
    """A mask as words for :func:`count`."""
    octets = mask.view(np.uint8)
    if packing(tile) == 1:
        return (octets != 0).astype(np.uint32)
    words = octets.view(np.uint32)
    return words if words.flags.aligned else words.copy()


def no_prices(scores: NDArray[Any], tile: tuple[int, int], dtype: Any = np.float64) -> Prices:
    """Prices of a window, to be written; what is not written proves nothing that is not so."""
    (b, rows, columns), (height, width) = scores.shape, tile
    shapes = (b, rows, columns // width), (b, rows // height, columns)
    return Prices(*(np.empty(shape, dtype) for shape in shapes))


@helper
def count(words, width, lines):
    """Count what the rows and columns of a row of tiles hold."""
    each = lines.words.reshape(words.shape)
    clear(lines.held)
    for k in range(words.shape[0]):
        count_row(words[k], each[k], lines.held)
    add_up(lines.words, lines.spare, width // lines.packed, lines.by_row)
    if lines.packed == _BYTES:
        add_bytes(lines.by_row)
        widen(lines.held_bytes, lines.by_column)
    else:
        widen(lines.held, lines.by_column)


@unaliased
def clear(words):
    """Set to 0."""
    for x in range(words.size):
        words[x] = 0


@unaliased
def count_row(words, each, held):
    """Count the entries of a row, of which any byte but 0 is one."""
    for x in range(words.size):
        word = words[x]
        word |= np.uint32(word >> np.uint32(4))
        word |= np.uint32(word >> np.uint32(2))
        word |= np.uint32(word >> np.uint32(1))
        word &= _LOWEST_BITS
        each[x] = word
        held[x] += word


@unaliased
def add_bytes(words):
    """Of each word the sum of its bytes, which a byte holds."""
    for t in range(words.size):
        word = words[t]
        word += np.uint32(word >> np.uint32(16))
        word += np.uint32(word >> np.uint32(8))
        words[t] = word & np.uint32(_MOST_OF_A_BYTE)


@unaliased
def widen(numbers, wide):
    """Copy numbers into words."""
    for x in range(wide.size):
        wide[x] = numbers[x]


@helper
def add_up(numbers, spare, length, sums):
    """Add up runs of so many numbers, which are lost."""
    while length % 2 == 0 and length > 2:
        length //= 2
        add_pairs(numbers, spare[: sums.size * length])
        numbers, spare = spare[: sums.size * length], numbers
    if length == 2:
        add_pairs(numbers, sums)
    elif length == 1:
        widen(numbers, sums)
    else:
        add_runs(numbers, length, sums)


@unaliased
def add_pairs(numbers, sums):
    """Add up runs of two."""
    for t in range(sums.size):
        sums[t] = numbers[2 * t] + numbers[2 * t + 1]


@unaliased
def add_runs(numbers, length, sums):
    """Add up runs of so many numbers."""
    for t in range(sums.size):
        total = numbers[t * length]
        for k in range(t * length + 1, (t + 1) * length):
            total += numbers[k]
        sums[t] = total


@helper
def spread(prices, width, entries, spare):
    """Give each entry of a row the price of its tile; the spare array is lost."""
    odd, doublings = width, 0
    while odd % 2 == 0:
        odd, doublings = odd // 2, doublings + 1
    if odd > 1 or not doublings:
        to = spare if doublings % 2 else entries
        repeat(prices, odd, to)
        prices = to[: prices.size * odd]
    for left in range(doublings, 0, -1):
        to = entries if left % 2 else spare
        repeat_twice(prices, to)
        prices = to[: 2 * prices.size]


@unaliased
def repeat(prices, times, entries):
    """Write each price so many times."""
    for t in range(prices.size):
        for k in range(t * times, (t + 1) * times):
            entries[k] = prices[t]


@unaliased
def repeat_twice(prices, entries):
    """As :func:`repeat`, of which LLVM makes vectors where it knows the number."""
    for t in range(prices.size):
        entries[2 * t] = prices[t]
        entries[2 * t + 1] = prices[t]
