"""Paths that commands write to, looked at before the work begins, and reports as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os.path import realpath
from pathlib import Path
from typing import Any

import nmflow
from nmflow.checkpoint.files import check_target, replacing, write
from nmflow.errors import NmflowError


def check_outputs(
    wanted: Mapping[str, Path | None], taken: Mapping[str, Path | None], *, overwrite: bool
) -> None:
    """Refuse files that can't be written, or that something else is.

    Parameters
    ----------
    wanted : mapping of str to Path or None
        Files to be written, by what they are called in the error's text.
    taken : mapping of str to Path or None
        Other files of the command.
    overwrite : bool
        Whether files that exist may be replaced.

    Raises
    ------
    NmflowError
    """
    others = dict(taken)
    for label, path in wanted.items():
        if path is None:
            continue
        for other, file in others.items():
            if file is not None and realpath(path) == realpath(file):
                raise NmflowError(f"{label} and {other} are the same file: {path}")
        check_target(path, overwrite=overwrite)
        others[label] = path


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Save a report, with the version that made it."""
    text = json.dumps({"nmflow": nmflow.__version__, **report}, indent=2)
    with replacing(path) as file:
        write(file, text.encode() + b"\n")
