"""What a certificate says: feasibility, kept score, the bound on it, and the gap between.

And the tally of what was found, piece by piece, that it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.pattern import Pattern
from nmflow.proof.sums import ratio, rounded

VIOLATIONS_LISTED = 10

# Matrix, tile row and tile column, row or column of the tile.
Place = tuple[int, tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class Violation:
    """A row, a column, a matrix or a unit that does not hold what it should.

    Attributes
    ----------
    matrix : int
        Which matrix, counting the batch dimensions in row-major order.
    tile : tuple of int
        Tile row and tile column in the matrix.
    line : {"row", "column", "matrix", "forbidden", "forced", "unit"}
        ``forbidden`` and ``forced`` are entries of a row that may not be kept, and that must be.
    index : int
        Which row or column of the tile, or which unit in row-major order.
    held, allowed : int
        Entries (or units) kept, and n: the most, in a full tile also the least, that it may hold.
        Of forbidden entries none may be kept, of forced ones all must. Of a unit kept in part, its
        entries kept and all that it has.
    """

    matrix: int
    tile: tuple[int, int]
    line: str
    index: int
    held: int
    allowed: int

    def __str__(self) -> str:
        where = f"{self.index} of tile {self.tile} in matrix {self.matrix}"
        if self.line in ("forbidden", "forced"):
            count = f"{self.held} of {self.allowed}" if self.allowed else f"{self.held}"
            return f"row {where} keeps {count} {self.line} entries"
        return f"{self.line} {where} holds {self.held}, should hold {self.allowed}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What :func:`certify` found. All sums are exact before one last rounding to float64.

    Attributes
    ----------
    pattern : Pattern
    feasible : bool
        No group holds more than n.
    full : bool
        Every group of a full tile holds exactly n.
    value : float
        Kept score.
    bound : float
        The largest kept score of any mask that obeys the pattern, proved by LP duality.
    absolute_gap : float
        bound - value. Negative only where a mask is not ``full``: filling up can cost score.
    gap : float
        absolute_gap / abs(bound); NaN for an infeasible mask. 0 only where value equals bound: a
        ratio too small for float64 is the least float64 above 0.
    tiles, optimal_tiles : int
        How many pieces there are (tiles; groups or matrices for the other patterns), and how many
        of them are proved optimal as they stand.
    violations : tuple of Violation
        The first few groups that hold too many, then those that hold too few.
    """

    pattern: Pattern
    feasible: bool
    full: bool
    value: float
    bound: float
    absolute_gap: float
    gap: float
    tiles: int
    optimal_tiles: int
    violations: tuple[Violation, ...]

    @property
    def optimal(self) -> bool:
        """Every tile is proved optimal, and no unit is kept in part."""
        return self.feasible and self.optimal_tiles == self.tiles

    def __str__(self) -> str:
        if self.optimal:
            verdict = "proved optimal"
        elif self.feasible:
            verdict = "feasible, not optimal" if self.full else "feasible, not full"
        else:
            verdict = "NOT FEASIBLE"
        lines = [
            f"{self.pattern} mask: {verdict}",
            f"  kept score   {self.value:.17g}",
            f"  upper bound  {self.bound:.17g}",
            f"  gap          {self.gap:.3g} ({self.absolute_gap:.3g} absolute)",
            f"  tiles        {self.optimal_tiles:,} of {self.tiles:,} optimal",
        ]
        return "\n".join(lines + [f"  ! {violation}" for violation in self.violations])


@dataclass(slots=True)
class Tally:
    """Counts and exact sums.

    Attributes
    ----------
    pattern : Pattern
    tiles, optimal_tiles : int
    value, missed : int
        Kept score, and what optima keep beyond it: multiples of the least float64.
    over, under : list of Violation
        The first groups that hold too many, and too few.
    """

    pattern: Pattern
    tiles: int = 0
    optimal_tiles: int = 0
    value: int = 0
    missed: int = 0
    over: list[Violation] = field(default_factory=list)
    under: list[Violation] = field(default_factory=list)

    def count(self, optimal: NDArray[np.bool_]) -> None:
        """Add tiles, of which some are optimal."""
        self.tiles += optimal.size
        self.optimal_tiles += int(np.count_nonzero(optimal))

    def add(self, other: Tally) -> None:
        """Add what was found of the pieces that come next."""
        self.tiles += other.tiles
        self.optimal_tiles += other.optimal_tiles
        self.value += other.value
        self.missed += other.missed
        self.over += other.over[: VIOLATIONS_LISTED - len(self.over)]
        self.under += other.under[: VIOLATIONS_LISTED - len(self.under)]

    def certificate(self) -> Certificate:
        """What all pieces together come to."""
        bound = self.value + self.missed
        feasible = not self.over
        return Certificate(
            pattern=self.pattern,
            feasible=feasible,
            full=feasible and not self.under,
            value=rounded(self.value),
            bound=rounded(bound),
            absolute_gap=rounded(self.missed),
            gap=ratio(self.missed, bound) if feasible else math.nan,
            tiles=self.tiles,
            optimal_tiles=self.optimal_tiles,
            violations=tuple((self.over + self.under)[:VIOLATIONS_LISTED]),
        )

    def check_counts(
        self,
        held: NDArray[Any],
        allowed: int,
        exactly: bool | NDArray[np.bool_],
        line: str,
        place: Callable[..., Place],
    ) -> None:
        """Note groups that hold too many or, where exactly so many are due, too few.

        ``exactly`` is for all, or as many as ``held`` has rows, shape (T, 1).
        """
        for wrong, found in ((held > allowed, self.over), ((held < allowed) & exactly, self.under)):
            if not wrong.any():
                continue
            for where in np.argwhere(wrong)[: VIOLATIONS_LISTED - len(found)]:
                matrix, tile, index = place(*(int(i) for i in where))
                found.append(Violation(matrix, tile, line, index, int(held[tuple(where)]), allowed))
