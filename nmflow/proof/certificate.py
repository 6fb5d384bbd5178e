"""What a certificate says: feasibility, kept score, the bound on it, and the gap between."""

from __future__ import annotations

from dataclasses import dataclass

from nmflow.problem.pattern import Pattern


@dataclass(frozen=True, slots=True)
class Violation:
    """A row, a column or a matrix that does not hold what it should.

    Attributes
    ----------
    matrix : int
        Which matrix, counting the batch dimensions in row-major order.
    tile : tuple of int
        Tile row and tile column in the matrix.
    line : {"row", "column", "matrix"}
    index : int
        Which row or column of the tile.
    held, allowed : int
        Entries kept, and n: the most, in a full tile also the least, that it may hold.
    """

    matrix: int
    tile: tuple[int, int]
    line: str
    index: int
    held: int
    allowed: int

    def __str__(self) -> str:
        return (
            f"{self.line} {self.index} of tile {self.tile} in matrix {self.matrix}"
            f" holds {self.held}, should hold {self.allowed}"
        )


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
        """Every tile is proved optimal."""
        return self.optimal_tiles == self.tiles

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
