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

Pair = tuple[int, int]
"""Of rows, and of columns."""


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
    columns : pair of int, optional
        n':m' along columns, where it is not n:m there too. Of a transposable pattern alone.
    at_most : bool
        Whether a tile in which rows and columns can't all hold exactly so many holds at most so
        many.

    Raises
    ------
    NmflowError
        If n or m is no integer, n < 1, n > m, or the name is none of the four; and if the shares
        of rows and of columns differ, n/m and n'/m', but for ``at_most``.
    """

    n: int
    m: int
    name: PatternName = "transposable"
    columns: Pair | None = None
    at_most: bool = False

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
        if self.columns is not None:
            self._check_columns(self.columns)

    def _check_columns(self, columns: object) -> None:
        """Validate n':m' along columns; None where it is n:m."""
        if self.name != "transposable":
            raise NmflowError(
                f"columns={columns!r} with pattern {self.name!r}: only transposable masks have a"
                " ratio for rows and one for columns; leave one of them out"
            )
        if not isinstance(columns, Sequence) or len(columns) != len("nm"):
            raise NmflowError(f"columns must be a pair (n, m), such as (4, 8); got {columns!r}")
        other = Pattern(*columns)
        same = (other.n, other.m) == (self.n, self.m)
        object.__setattr__(self, "columns", None if same else (other.n, other.m))
        if self.n * other.m != other.n * self.m and not self.at_most:
            raise NmflowError(
                f"{self.n}:{self.m} along rows and {other.n}:{other.m} along columns: a tile of"
                f" {other.m} x {self.m} would have {other.m * self.n} entries counted by rows and"
                f" {self.m * other.n} by columns; choose n/m the same for both, or at_most=True"
            )

    def __str__(self) -> str:
        if self.columns is None:
            return f"{self.n}:{self.m} {self.name}"
        n, m = self.columns
        return f"{self.n}:{self.m} along rows and {n}:{m} along columns"

    @property
    def tile(self) -> Pair:
        """Rows and columns of a full tile: as many rows as a group of a column has entries."""
        return self.m if self.columns is None else self.columns[1], self.m

    @property
    def capacities(self) -> Pair:
        """What each row of a tile holds, and what each column does."""
        return self.n, self.n if self.columns is None else self.columns[0]

    @property
    def fills(self) -> bool:
        """Whether rows and columns of a full tile can all hold exactly so many."""
        rows, columns = self.tile
        return rows * self.capacities[0] == columns * self.capacities[1]

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
