"""Counting partial tiles row by row, where n or what is left of n is small.

Columns that still take equally many ones are alike, so how many columns take 0, 1, ... n more is
all that the rows to come need to know. Where n is large the zeros are fewer: then every row has at
least ``columns - n`` zeros and every column ``rows - n``, and the state says how many columns still
need 0, 1, ... zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

State = tuple[int, ...]


def count_at_most(rows: int, columns: int, n: int) -> int:
    """Matrices with at most n ones in each row and column, 1 <= n < rows and columns.

    Memory and time grow with :func:`work`.
    """
    return _count(rows, columns, n, digit=0)


def count_by_ones(rows: int, columns: int, n: int) -> list[int]:
    """As :func:`count_at_most`, those with 0, 1, 2, ... ones apart.

    The count that goes with a state is a polynomial, z for each pick of a row, evaluated at a power
    of two that exceeds all its coefficients: they are the digits of one long integer.
    """
    digit = digit_bits(rows, columns, n)
    packed = _count(rows, columns, n, digit)
    entries = rows * columns
    counts = [(packed >> digit * k) & ((1 << digit) - 1) for k in range(entries + 1)]
    if not _by_ones(rows, n):
        # The rows have picked zeros.
        counts.reverse()
    return counts[: n * min(rows, columns) + 1]


def digit_bits(rows: int, columns: int, n: int) -> int:
    """Bits that no coefficient of :func:`count_by_ones` exceeds."""
    subsets = sum(math.comb(columns, k) for k in range(n + 1))
    return int(subsets**rows).bit_length()


def _count(rows: int, columns: int, n: int, digit: int) -> int:
    if _by_ones(rows, n):
        states = _walk(rows, (0,) * n + (columns,), range(n + 1), False, digit)
        return sum(states.values())
    need = rows - n
    picks = range(columns - n, columns + 1)
    states = _walk(rows, (0,) * need + (columns,), picks, True, digit)
    return states.get((columns,) + (0,) * need, 0)


def work(rows: int, columns: int, n: int) -> int:
    """No less than the steps from one state to the next that :func:`count_at_most` takes."""
    top = n if _by_ones(rows, n) else rows - n
    states = math.comb(columns + top, top)
    # Each class of k columns has k + 1 choices; the product is largest for classes of equal size.
    moves = math.ceil((columns / (top + 1) + 1) ** (top + 1))
    return rows * states * (min(moves, math.comb(2 * n, n)) if top == n else moves)


def _by_ones(rows: int, n: int) -> bool:
    return n <= rows - n


def _walk(rows: int, start: State, picks: range, floor: bool, digit: int) -> dict[State, int]:
    """The states after all rows, with the number of ways to each.

    ``digit``: bits by which each pick shifts the ways; 0 where picks need not be told apart.
    """
    states = {start: 1}
    for _ in range(rows):
        reached: dict[State, int] = {}
        for state, ways in states.items():
            for after, choices, picked in _moves(state, picks, floor):
                reached[after] = reached.get(after, 0) + (ways * choices << digit * picked)
        states = reached
    return states


def _moves(state: State, picks: range, floor: bool) -> Iterator[tuple[State, int, int]]:
    """The states one row later: the row picks columns, each of which then takes one less.

    Yields each with the choices that lead there, and how many columns they pick.

    ``floor``: whether columns at 0 may be picked, and stay there.
    """
    # Columns picked, choices, columns that come down from the class above, and the classes so far.
    ends: list[tuple[int, int, int, State]] = [(0, 1, 0, ())]
    for level in range(len(state) - 1, -1, -1):
        here = state[level]
        most = here if level or floor else 0
        longer = []
        for picked, choices, moved, tail in ends:
            for k in range(min(most, picks.stop - 1 - picked) + 1):
                stay = here - k if level else here
                longer.append((picked + k, choices * math.comb(here, k), k, (stay + moved, *tail)))
        ends = longer
    for picked, choices, _, after in ends:
        if picked in picks:
            yield after, choices, picked
