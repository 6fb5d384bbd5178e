"""``nmflow verify``: a model held against n:m, and against the dense one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nmflow.checkpoint.console import make_console
from nmflow.checkpoint.examining.checking import Asked, check_model
from nmflow.checkpoint.examining.recorded import read_record, record_beside
from nmflow.checkpoint.examining.told import print_check
from nmflow.commandline.outputs import check_outputs, write_json
from nmflow.errors import NmflowError
from nmflow.problem.pattern import PATTERNS, Pattern

NOTES = """\
OUT is a model of any kind that `nmflow prune` takes, whoever made it sparse. What its layers are
held against is -n and -m, or what a report of `prune --json` (--report) or the conversion.json of
`nmflow convert` says of each, or else the sparsest n:m that each has: then a layer that has none is
wrong. Groups are counted along rows and columns by code that shares nothing with the solvers.

With --source, the dense model, kept weights and all other tensors must be the source's, bit for
bit (with --fitted only the zeros count, for weights that were fitted anew), and the mask of each
layer is certified: its gap is its distance to the best mask of the dense weights.

Exit codes: 0 all holds; 1 something does not, with a line for each; 2 an error."""
"""What the help ends with."""


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow verify``."""
    add = parser.add_argument
    add("target", metavar="OUT", type=Path)
    add("--source", metavar="IN", type=Path, help="the dense model that it was made of")
    add("-n", type=int, help="how many may be kept ...")
    add("-m", type=int, help="... of every m")
    add("--pattern", choices=PATTERNS, default="transposable", help="default: %(default)s")
    add("--report", metavar="PATH", type=Path, help="what `prune --json` saved")
    add("--include", metavar="GLOB", action="append", default=[], help="hold what matches")
    add("--exclude", metavar="GLOB", action="append", default=[], help="leave what matches")
    add(
        "--score",
        choices=("abs", "square", "raw"),
        help="of gaps; default: the report's, else abs",
    )
    add("--fitted", action="store_true", help="kept weights need not be the source's")
    add("--workers", type=int, metavar="K", help="threads; default: one for each core")
    add("--force", action="store_true", help="replace a report that exists")
    add("--json", metavar="PATH", type=Path, help="save what was found")
    add("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(command=_verify)


def _verify(options: argparse.Namespace) -> int:
    asked = asked_of(options)
    taken = {"OUT": options.target, "--source": options.source, "--report": options.report}
    check_outputs({"--json": options.json}, taken, overwrite=options.force)
    report = check_model(options.target, asked, source=options.source, workers=options.workers)
    if options.json is not None:
        write_json(options.json, report.as_dict())
    if not options.quiet:
        print_check(make_console(), report)
    for failure in report.failures:
        print("nmflow: verification failed:", " ".join(str(failure).split()), file=sys.stderr)
    return 1 if report.failures else 0


def asked_of(options: argparse.Namespace) -> Asked:
    """What a model is to be held against."""
    if (options.n is None) != (options.m is None):
        raise NmflowError("-n and -m go together: give both, or neither")
    record = options.report or record_beside(options.target)
    given = options.n is not None
    if given and options.report is not None:
        raise NmflowError("-n and -m, and --report: the report says what n and m are; leave one")
    if given or record is None:
        return Asked(
            default=Pattern(options.n, options.m, options.pattern) if given else None,
            include=options.include,
            exclude=options.exclude,
            score=options.score or "abs",
            fitted=options.fitted,
        )
    recorded = read_record(record)
    return Asked(
        patterns=recorded.patterns,
        include=options.include,
        exclude=options.exclude,
        score=options.score or recorded.score,
        fitted=options.fitted or recorded.fitted,
    )
