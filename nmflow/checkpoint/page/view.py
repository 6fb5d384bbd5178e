"""What a page shows of a report, as ``prune``, ``verify`` or ``convert`` saved it in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nmflow.errors import NmflowError

PATTERNS = ("unstructured", "rows", "columns", "transposable")
"""Loosest first."""


@dataclass(frozen=True, slots=True)
class ShownLayer:
    """A layer.

    Attributes
    ----------
    name, dtype : str
    shape : tuple of int
    ratio : str
        n:m, and the pattern where it is not transposable.
    pattern : str
    shares : mapping of str to float
        Kept parts of the total score, by pattern.
    gap : float or None
        NaN where it can't be told: the mask is not feasible.
    tiles, optimal : int
        How many, and how many of them are proved optimal.
    seconds : float or None
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    ratio: str
    pattern: str
    shares: Mapping[str, float]
    gap: float | None
    tiles: int
    optimal: int
    seconds: float | None

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def share(self) -> float | None:
        """What the mask keeps."""
        return self.shares.get(self.pattern)

    @property
    def kind(self) -> str:
        """The name without its numbers."""
        return ".".join("*" if part.isdigit() else part for part in self.name.split("."))


@dataclass(frozen=True, slots=True)
class View:
    """A report.

    Attributes
    ----------
    source, target : str
        Paths, or "".
    what : str
        n:m and pattern, if all layers have the same.
    method, score, version : str
    verified : bool
    failures : tuple of (str, str)
        Tensors and what is wrong with them.
    rows : tuple of ShownLayer
    skipped : tuple of (str, str)
        Names and reasons.
    overall : mapping of str to float
        Kept part of the total score of all layers, by pattern.
    gap : float or None
    seconds, solve_seconds : float or None
    """

    source: str
    target: str
    what: str
    method: str
    score: str
    version: str
    verified: bool
    failures: tuple[tuple[str, str], ...]
    rows: tuple[ShownLayer, ...]
    skipped: tuple[tuple[str, str], ...]
    overall: Mapping[str, float]
    gap: float | None
    seconds: float | None
    solve_seconds: float | None

    @classmethod
    def of(cls, report: Mapping[str, Any], version: str) -> View:
        """What a report says.

        Raises
        ------
        NmflowError
            If it is none that can be shown.
        """
        try:
            return _view(report, version)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NmflowError(
                f"this report can't be shown ({type(error).__name__}: {error}): give one that"
                " `nmflow prune --json`, `verify --json` or `convert` wrote"
            ) from error

    @property
    def patterns(self) -> tuple[str, ...]:
        """Whose kept scores are known, loosest first."""
        known = {name for row in self.rows for name in row.shares}
        return tuple(name for name in PATTERNS if name in known)

    @property
    def certified(self) -> bool:
        """Whether gaps are known."""
        return any(row.gap is not None for row in self.rows)

    @property
    def timed(self) -> bool:
        """Whether times are known."""
        return any(row.seconds is not None for row in self.rows)

    @property
    def tiles(self) -> tuple[int, int]:
        """How many there are, and how many of them are proved optimal."""
        return sum(row.tiles for row in self.rows), sum(row.optimal for row in self.rows)


def _view(report: Mapping[str, Any], version: str) -> View:
    conversion = report.get("conversion") or report
    lines = [
        line for line in conversion["layers"] if line.get("status", "converted") == "converted"
    ]
    rows = tuple(_row(line, report) for line in lines)
    left = [
        (str(line["name"]), str(line.get("note") or line["status"]))
        for line in conversion["layers"]
        if line.get("status", "converted") != "converted"
    ]
    skipped = [(str(one["name"]), str(one["reason"])) for one in report.get("skipped", ())]
    ratios = {(row.ratio, row.pattern) for row in rows}
    ratio, pattern = next(iter(ratios)) if len(ratios) == 1 else ("several n:m", "")
    return View(
        source=str(report.get("source") or ""),
        target=str(report.get("target") or ""),
        what=f"{ratio} {pattern}".strip(),
        method=str(report.get("method") or ""),
        score=str(report.get("score") or ""),
        version=str(report.get("nmflow") or version),
        verified=bool(report.get("verified", False)),
        failures=tuple((str(f["tensor"]), str(f["problem"])) for f in report.get("failures", ())),
        rows=rows,
        skipped=tuple(left + skipped),
        overall=_overall(report, lines),
        gap=_number(report.get("gap", _largest(rows))),
        seconds=_number(report.get("seconds")),
        solve_seconds=_number(report.get("solve_seconds")),
    )


def _row(line: Mapping[str, Any], report: Mapping[str, Any]) -> ShownLayer:
    pattern = str(line.get("pattern") or report["pattern"])
    shares = line.get("kept_share") or {pattern: line.get("kept_score")}
    ratio = f"{line.get('n') or report['n']}:{line.get('m') or report['m']}"
    gap = _number(line.get("gap"))
    return ShownLayer(
        name=str(line["name"]),
        dtype=str(line.get("dtype") or ""),
        shape=tuple(int(length) for length in line["shape"]),
        ratio=ratio,
        pattern=pattern,
        shares={str(name): float(share) for name, share in shares.items() if share is not None},
        gap=math.nan if gap is None and line.get("feasible") is False else gap,
        tiles=int(line.get("tiles") or 0),
        optimal=int(line.get("optimal_tiles") or 0),
        seconds=_number(line.get("seconds")),
    )


def _overall(report: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """As it is told, else by the layers' totals."""
    told = report.get("kept_share")
    if told:
        return {str(name): float(share) for name, share in told.items() if share is not None}
    known = [line for line in lines if line.get("kept_share") and line.get("total_score")]
    total = math.fsum(float(line["total_score"]) for line in known)
    names = [name for name in PATTERNS if known and all(name in k["kept_share"] for k in known)]
    return {
        name: math.fsum(float(k["kept_share"][name]) * float(k["total_score"]) for k in known)
        / total
        for name in names
        if total
    }


def _largest(rows: Iterable[ShownLayer]) -> float | None:
    return max((row.gap for row in rows if row.gap is not None), default=None)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
