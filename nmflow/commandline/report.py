"""``nmflow report``: a report as one page of HTML."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nmflow
from nmflow.checkpoint.console import make_console, plain
from nmflow.checkpoint.examining.checking import Asked, check_model
from nmflow.checkpoint.examining.recorded import read_record, read_report, record_beside
from nmflow.checkpoint.files import replacing, write
from nmflow.checkpoint.page.page import report_page
from nmflow.checkpoint.page.view import View
from nmflow.checkpoint.prune import COMPARED
from nmflow.commandline.outputs import check_outputs
from nmflow.errors import NmflowError

NOTES = """\
REPORT is what `nmflow prune --json` or `verify --json` saved, or the conversion.json of `nmflow
convert`. With IN and OUT, a dense model and the sparse one made of it, both are read, compared and
certified first, as `nmflow verify OUT --source IN` does; that page has no times of the run.

The page is one file that loads nothing: pictures, style and the script that sorts the table are in
it. It opens from a disk or a mail, on paper, on a phone, light or dark.

Exit codes: 0; 2 an error."""
"""What the help ends with."""


def add_report(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow report``."""
    add = parser.add_argument
    add("sources", metavar="REPORT | IN OUT", nargs="+", type=Path)
    add("-o", "--output", metavar="PATH", type=Path, required=True, help="the page to write")
    add("--workers", type=int, metavar="K", help="threads; default: one for each core")
    add("--force", action="store_true", help="replace a page that exists")
    add("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    sources: list[Path] = options.sources
    if len(sources) > len(("IN", "OUT")):
        raise NmflowError(f"{len(sources)} files: give a report, or a dense and a sparse model")
    taken = {f"input {number}": path for number, path in enumerate(sources, 1)}
    check_outputs({"--output": options.output}, taken, overwrite=options.force)
    first, last = sources[0], sources[-1]
    report = read_report(first) if len(sources) == 1 else _compared(first, last, options.workers)
    page = report_page(View.of(report, nmflow.__version__))
    with replacing(options.output) as file:
        write(file, page.encode())
    if not options.quiet:
        make_console().print(f"Wrote {plain(str(options.output))}.", soft_wrap=True)
    return 0


def _compared(source: Path, target: Path, workers: int | None) -> Mapping[str, Any]:
    record = record_beside(target)
    if record is None:
        asked = Asked(compared=COMPARED)
    else:
        recorded = read_record(record)
        asked = Asked(
            patterns=recorded.patterns,
            score=recorded.score,
            fitted=recorded.fitted,
            compared=COMPARED,
        )
    return check_model(target, asked, source=source, workers=workers).as_dict()
