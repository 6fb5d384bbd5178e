"""What was found of a matrix, piece by piece, and the certificate that it adds up to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import Certificate, Violation
from nmflow.proof.sums import ratio, rounded

VIOLATIONS_LISTED = 10

# Matrix, tile row and tile column, row or column of the tile.
Place = tuple[int, tuple[int, int], int]


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
        exactly: bool,
        line: str,
        place: Callable[..., Place],
    ) -> None:
        """Note groups that hold too many or, if exactly so many are due, too few."""
        for wrong, found in ((held > allowed, self.over), (held < allowed, self.under)):
            if (found is self.under and not exactly) or not wrong.any():
                continue
            for where in np.argwhere(wrong)[: VIOLATIONS_LISTED - len(found)]:
                matrix, tile, index = place(*(int(i) for i in where))
                found.append(Violation(matrix, tile, line, index, int(held[tuple(where)]), allowed))
