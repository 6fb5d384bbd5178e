"""How long each stage ascends and how far it steps: these change the time, never the mask."""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

FRESH, QUEUED, TIED, WARM = range(4)
"""Places in the kernel's array of rounds; see :class:`Rounds`."""


class Rounds(NamedTuple):
    """Rounds of dual ascent of a batch, in the order of FRESH, QUEUED, TIED and WARM.

    Attributes
    ----------
    fresh : of strips that no stage has seen
    queued : of strips from the queue
    tied : of fresh strips where ties are likely; there a round costs less than the tiles that it
        proves cost one by one, unless m is large
    warm : of strips that start from the last solve's potentials, which have less far to go
    """

    fresh: int
    queued: int
    tied: int
    warm: int


class Relaxation(NamedTuple):
    """Over-relaxation: the share of a potential's move that is added to the move.

    Attributes
    ----------
    usual : in every round
    tied : in the first round where ties are likely
    decay : by which that is multiplied in each round
    """

    usual: float
    tied: float
    decay: float


_ROUNDS = {
    4: Rounds(fresh=6, queued=10, tied=9, warm=6),
    8: Rounds(fresh=6, queued=6, tied=9, warm=4),
    16: Rounds(fresh=8, queued=6, tied=11, warm=4),
    32: Rounds(fresh=11, queued=7, tied=10, warm=5),
}
# Prices that may not fall below 0 need longer, and the fallback has no good start there.
_ROUNDS_AT_MOST = _ROUNDS | {
    8: Rounds(fresh=8, queued=16, tied=9, warm=4),
    16: Rounds(fresh=8, queued=10, tied=11, warm=4),
}
# The larger the tiles, the more rounds a larger step has to pay off.
_RELAXATION = {
    8: Relaxation(usual=0.25, tied=0.5, decay=1.0),
    16: Relaxation(usual=0.625, tied=1.35, decay=0.9),
    32: Relaxation(usual=0.75, tied=1.35, decay=0.9),
}
# Rounds after which the relaxation stays what it is.
_LONGEST = 16


def rounds(m: int, at_most: bool = False) -> Rounds:
    """The rounds of tiles of m x m, which hold n or at most n."""
    chosen: Rounds = _of_size(m, _ROUNDS_AT_MOST if at_most else _ROUNDS)
    return chosen


@functools.cache
def relaxation_shifts(m: int) -> tuple[tuple[int, int], ...]:
    """The usual relaxation, then that of each round where ties are likely.

    Each as two shifts to the right, as :func:`dual_ascent.relaxed_midpoint` takes them.
    """
    usual, first, decay = _of_size(m, _RELAXATION)
    shares = usual, *(first * decay**k for k in range(_LONGEST))
    return tuple(_as_shifts(share) for share in shares)


def _of_size(m: int, choices: dict[int, Any]) -> Any:
    return next(choice for size, choice in choices.items() if m <= size)


def _as_shifts(share: float) -> tuple[int, int]:
    """The two powers of two whose sum is nearest, as shifts of 16 bits to the right."""
    pairs = itertools.combinations_with_replacement(range(16), 2)
    return min(pairs, key=lambda pair: abs(0.5 ** pair[0] + 0.5 ** pair[1] - share))
