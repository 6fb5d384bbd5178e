"""Full tiles that are too few to compile the SIMD engine for.

The engine's kernels are compiled for each n:m and dtype, which takes seconds; the scalar stage's
one kernel serves them all, and takes half as long. It is 12 to 70 times slower, but as exact, so
it solves the first matrices of an n:m and dtype, until compiling would have paid. What is compiled
already, by this process or an earlier one, is used at once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from nmflow.compiling.sparing import compiles_at_once

PATIENCE = 1 << 26
"""Entries of each kind that the scalar stage sees: some two seconds."""

_lock = threading.Lock()
_seen: Counter[Any] = Counter()
_at_hand: set[Any] = set()


def spares_engine(kind: Any, entries: int, of: int, is_compiled: Callable[[], bool]) -> bool:
    """Whether the scalar stage solves some tiles, because compiling for them would not pay.

    Parameters
    ----------
    kind : hashable
        What the engine is compiled for.
    entries, of : int
        Of the tiles, and of all that are solved with them.
    is_compiled : function
        Whether the engine is; asked as long as it isn't.
    """
    if kind in _at_hand:
        return False
    if compiles_at_once() or 2 * of > PATIENCE or is_compiled():
        _at_hand.add(kind)
        return False
    with _lock:
        if _seen[kind] > PATIENCE:
            return False
        _seen[kind] += entries
    return True
