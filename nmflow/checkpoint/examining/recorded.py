"""What a report of ``prune`` or ``convert`` says that a model's layers were to get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmflow.checkpoint.formats.file_bytes import reading
from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName, check_score

CONVERSION = "conversion.json"
"""What ``nmflow convert`` leaves in a folder."""
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was asked of a model.

    Attributes
    ----------
    patterns : dict of str to Pattern
        Of each layer, by the name of its tensor.
    score : str
    fitted : bool
        Whether the weights kept have other values than in the source.
    """

    patterns: dict[str, Pattern]
    score: ScoreName
    fitted: bool


def read_record(path: Path) -> Recorded:
    """What a report that ``--json`` saved, or ``convert`` left, says of each layer.

    Raises
    ------
    NmflowError
        If it can't be read, or is no such report.
    """
    report = read_report(path)
    conversion = report.get("conversion")
    lines = report["layers"] if conversion is None else conversion["layers"]
    try:
        patterns = {
            line["name"]: Pattern(
                line.get("n") or report["n"],
                line.get("m") or report["m"],
                _name(line.get("pattern")) or _name(report["pattern"]),
            )
            for line in lines
            if line.get("status", "converted") == "converted"
        }
        score = report.get("score", "abs")
        check_score(score)
        return Recorded(patterns, score, conversion is not None)
    except (KeyError, TypeError, AttributeError) as error:
        raise NmflowError(f"cannot read {path}: its layers have no n and m ({error})") from error


def read_report(path: Path) -> dict[str, Any]:
    """A report as it was saved, with the layers that it has at least.

    Raises
    ------
    NmflowError
        If it can't be read, or is none.
    """
    with reading(path) as file:
        text = file.read(_MOST_BYTES + 1)
    try:
        report = json.loads(text)
        lines = report.get("conversion", report)["layers"]
        if not isinstance(report, dict) or not all(isinstance(line["name"], str) for line in lines):
            raise TypeError("layers without names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NmflowError(
            f"cannot read {path}: no report that prune or convert saved ({error})"
        ) from error
    return report


def record_beside(model: Path) -> Path | None:
    """The report that lies in a folder, if there is one."""
    path = model / CONVERSION
    return path if path.is_file() else None


def _name(pattern: Any) -> Any:
    return pattern["name"] if isinstance(pattern, Mapping) else pattern
