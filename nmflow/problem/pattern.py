"""n:m and the pattern it is applied in, as one validated value."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, SupportsIndex, get_args

from nmflow.errors import NmflowError

PatternName = Literal["transposable", "rows", "columns", "unstructured"]
PATTERNS: tuple[str, ...] = get_args(PatternName)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Keep ``n`` of every ``m``, in the groups that ``name`` says.

    Note that ``n`` counts what is *kept*, as NVIDIA and TSENOR do; the paper of Hubara et al.
    counts the zeros.

    Parameters
    ----------
    n, m : int
        1 <= n <= m.
    name : {"transposable", "rows", "columns", "unstructured"}
        ``rows``: groups of m consecutive entries along the second of the two tile axes.
        ``columns``: along the first. ``transposable``: both at once, in m x m tiles.
        ``unstructured``: round(n/m * size) of each matrix, anywhere.

    Raises
    ------
    NmflowError
        If n or m is no integer, n < 1, n > m, or the name is none of the four.
    """

    n: int
    m: int
    name: PatternName = "transposable"

    def __post_init__(self) -> None:
        for label in ("n", "m"):
            object.__setattr__(self, label, as_integer(label, getattr(self, label)))
        if self.name not in PATTERNS:
            raise NmflowError(
                f"unknown pattern {self.name!r}: choose one of {', '.join(map(repr, PATTERNS))}"
            )
        if self.n < 1 or self.n > self.m:
            raise NmflowError(
                f"n:m = {self.n}:{self.m} keeps n of every m entries, so 1 <= n <= m must hold"
                " (n counts the kept entries, not the zeros)"
            )

    def __str__(self) -> str:
        return f"{self.n}:{self.m} {self.name}"

    def kept_of(self, size: int) -> int:
        """How many of ``size`` entries the unstructured pattern keeps: round(n/m * size)."""
        return round(Fraction(self.n, self.m) * size)


def as_integer(label: str, value: SupportsIndex) -> int:
    """The integer that ``value`` stands for; ``label`` names it in the error."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise NmflowError(
            f"{label} must be an integer, got {value!r} of type {type(value).__name__}"
        ) from None


def check_known(label: str, name: object, names: Sequence[str]) -> None:
    """Raise unless ``name`` is one of those known; ``label`` says of what."""
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise NmflowError(f"unknown {label} {name!r}{hint} (known: {', '.join(map(repr, names))})")
