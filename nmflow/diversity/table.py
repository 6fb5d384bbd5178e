"""The patterns side by side on one piece of weights: the paper's Table 1, counted exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmflow.diversity.count import (
    DiversityMethod,
    DiversityPattern,
    log10_mask_diversity,
    mask_diversity,
)
from nmflow.diversity.tile import OutOfReachError
from nmflow.errors import NmflowError

if TYPE_CHECKING:
    from rich.console import Console

_ORDER: tuple[DiversityPattern, ...] = (
    "unstructured",
    "rows",
    "columns",
    "transposable",
    "sequential",
)
# Longer numbers are shown by their leading digits.
_DIGITS_SHOWN = 24


@dataclass(frozen=True)
class PatternRow:
    """One pattern of a comparison.

    Attributes
    ----------
    pattern : str
    method : {"exact", "asymptotic"} or None
        How ``log10`` was found; None where no method reaches the piece.
    log10 : float
        Of the number of masks; NaN where the method is None.
    count : int or None
        The exact number, where it is short enough to be shown in full.
    paper_log10 : float
        By the paper's formula; NaN where the piece has partial tiles.
    """

    pattern: str
    method: str | None
    log10: float
    count: int | None
    paper_log10: float


@dataclass(frozen=True)
class Comparison:
    """All patterns of one n:m on one piece."""

    n: int
    m: int
    shape: tuple[int, ...]
    rows: tuple[PatternRow, ...]


def compare_patterns(n: int, m: int, shape: Sequence[int] | None = None) -> Comparison:
    """Count every pattern, exactly where that is in reach.

    Parameters
    ----------
    n, m : int
        0 <= n <= m.
    shape : sequence of int, optional
        By default 8 x 8, the paper's piece, where m divides 8, else one m x m tile.

    Returns
    -------
    Comparison

    Raises
    ------
    NmflowError
        As :func:`nmflow.mask_diversity`, save that counts out of reach are marked so.
    """
    if shape is None:
        shape = (8, 8) if m in (1, 2, 4, 8) else (m, m)
    rows = tuple(_row(n, m, pattern, shape) for pattern in _ORDER)
    return Comparison(n, m, tuple(shape), rows)


def _row(n: int, m: int, pattern: DiversityPattern, shape: Sequence[int]) -> PatternRow:
    # Before the paper's formula, so that wrong input is refused here.
    method, log10 = _best_log10(n, m, pattern, shape)
    count = None
    if method == "exact" and log10 < _DIGITS_SHOWN:
        count = int(mask_diversity(n, m, pattern, shape=shape))
    try:
        paper = log10_mask_diversity(n, m, pattern, shape=shape, method="paper")
    except NmflowError:
        paper = math.nan
    return PatternRow(pattern, method, log10, count, paper)


def _best_log10(
    n: int, m: int, pattern: DiversityPattern, shape: Sequence[int]
) -> tuple[str | None, float]:
    methods: tuple[DiversityMethod, ...] = ("exact", "asymptotic")
    for method in methods:
        try:
            return method, log10_mask_diversity(n, m, pattern, shape=shape, method=method)
        except OutOfReachError:
            continue
    return None, math.nan


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print a comparison as a table."""
    from rich.table import Table

    caption = "ratio: the paper's formula / masks"
    if any(row.method == "asymptotic" for row in comparison.rows):
        caption += "\n~ asymptotic: the exact count is out of reach"
    table = Table(
        title=f"Masks of {comparison.n}:{comparison.m} on {'x'.join(map(str, comparison.shape))}",
        caption=caption,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("pattern", no_wrap=True)
    for header in ("masks", "log10", "paper's formula", "ratio"):
        table.add_column(header, justify="right", overflow="fold")
    for row in comparison.rows:
        table.add_row(row.pattern, *_cells(row))
    console.print(table)


def _cells(row: PatternRow) -> list[str]:
    paper = "for whole tiles" if math.isnan(row.paper_log10) else _number(row.paper_log10)
    if row.method is None:
        return ["out of reach", "", paper, ""]
    masks = _number(row.log10) if row.count is None else f"{row.count:,}"
    ratio = row.paper_log10 - row.log10
    return [
        f"~{masks}" if row.method == "asymptotic" else masks,
        f"{row.log10:.3f}",
        paper,
        "" if math.isnan(ratio) else _ratio(ratio),
    ]


def _number(log10: float) -> str:
    return f"{round(10**log10):,}" if log10 < 6 else _scientific(log10)


def _ratio(log10: float) -> str:
    return f"{10**log10:.4g}" if abs(log10) < 6 else _scientific(log10)


def _scientific(log10: float) -> str:
    """Five leading digits of a number that may be too long, or too small, for a float."""
    exponent = math.floor(log10)
    mantissa = f"{10 ** (log10 - exponent):.4f}"
    return f"1.0000e{exponent + 1}" if mantissa == "10.0000" else f"{mantissa}e{exponent}"
