"""``nmflow prune``: a safetensors file with n:m sparse layers."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from nmflow.checkpoint import VerificationError, prune_checkpoint
from nmflow.checkpoint.console import make_console, print_report, progress_bar
from nmflow.checkpoint.picture import check_picture, save_picture
from nmflow.checkpoint.report import PruneReport
from nmflow.commandline.outputs import check_outputs, write_json
from nmflow.problem.pattern import PATTERNS

_COMPARE_HELP = (
    "leave out what the other patterns' masks would keep, which costs about as much time as"
    " finding the masks (MiniLM at 8:16: 0.05 s)"
)


def add_prune(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow prune``."""
    add = parser.add_argument
    add("source", metavar="IN.safetensors", type=Path)
    add("target", metavar="OUT.safetensors", type=Path)
    add("-n", type=int, required=True, help="how many to keep ...")
    add("-m", type=int, required=True, help="... of every m")
    add("--method", default="flow", help="see `nmflow methods`; default: %(default)s")
    add("--pattern", choices=PATTERNS, default="transposable", help="default: %(default)s")
    add("--score", choices=("abs", "square", "raw"), default="abs", help="default: %(default)s")
    add("--include", metavar="GLOB", action="append", default=[], help="prune what matches")
    add("--exclude", metavar="GLOB", action="append", default=[], help="leave what matches")
    add(
        "--keep-zeros",
        action="store_true",
        help="keep no weight that is 0, of a model that is sparse already",
    )
    add("--workers", type=int, metavar="K", help="threads; default: one for each core")
    add("--force", action="store_true", help="replace files that exist")
    add("--figure", metavar="PATH", type=Path, help="save a picture: .png, .pdf or .svg")
    add("--json", metavar="PATH", type=Path, help="save the report")
    add("--no-compare", action="store_true", help=_COMPARE_HELP)
    add("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(command=_prune)


def _prune(options: argparse.Namespace) -> int:
    files = {"the input": options.source, "the output": options.target}
    reports = {"--json": options.json, "--figure": options.figure}
    check_outputs(reports, files, overwrite=options.force)
    if options.figure is not None:
        check_picture(options.figure)
    try:
        report = _run(options)
    except VerificationError as error:
        if options.json is not None:
            write_json(options.json, error.report.as_dict())
        raise
    if options.json is not None:
        write_json(options.json, report.as_dict())
    if options.figure is not None:
        save_picture(report, options.figure)
    return 0


def _run(options: argparse.Namespace) -> PruneReport:
    run = partial(
        prune_checkpoint,
        *(options.source, options.target, options.n, options.m, options.method),
        pattern=options.pattern,
        score=options.score,
        include=options.include,
        exclude=options.exclude,
        keep_zeros=options.keep_zeros,
        workers=options.workers,
        compare=not options.no_compare,
        overwrite=options.force,
    )
    if options.quiet:
        return run()
    console = make_console()
    with progress_bar(make_console(sys.stderr)) as progress:
        report = run(progress=progress)
    print_report(console, report)
    return report
