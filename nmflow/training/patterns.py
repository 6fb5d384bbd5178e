"""What users give as n and m: one pattern for all weights, or patterns by globs."""

from __future__ import annotations

from collections.abc import Mapping

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern, PatternName


def as_patterns(
    n: int | Mapping[str, tuple[int, int]], m: int | None, name: PatternName
) -> Pattern | dict[str, Pattern]:
    """What users give as n and m: one pattern, or patterns by globs.

    Raises
    ------
    NmflowError
        If they are neither.
    """
    if isinstance(n, Mapping):
        if m is not None:
            raise NmflowError(f"n maps names to (n, m), so m must be left out, got {m!r}")
        try:
            return {glob: Pattern(*pair, name) for glob, pair in n.items()}
        except TypeError:
            raise NmflowError(f"n must map globs to pairs (n, m), got {dict(n)!r}") from None
    if m is None:
        raise NmflowError("m is missing: n, m = 4, 8 keeps 4 of every 8")
    return Pattern(n, m, name)
