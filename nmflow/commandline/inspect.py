"""``nmflow inspect``: what n:m a model has, or could have, and what runs it."""

from __future__ import annotations

import argparse
from pathlib import Path

from nmflow.checkpoint.console import make_console
from nmflow.checkpoint.examining.counting import SIZES
from nmflow.checkpoint.examining.inspecting import inspect_model
from nmflow.checkpoint.examining.told import print_inspection
from nmflow.commandline.outputs import check_outputs, write_json
from nmflow.errors import NmflowError

NOTES = """\
IN is a safetensors file, a Hugging Face folder or a file of torch.save. Each layer is told with the
sparsest n:m of its zeros, along rows, along columns and both ways; with the m that divide its
outputs and inputs; and with the hardware that multiplies by it natively, as the vendors document it
(`nmflow.hardware`). What stays dense by default is listed with its reason: see
`nmflow prune --help`.

Exit codes: 0; 2 an error."""
"""What the help ends with."""


_LEAST_M = 2


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow inspect``."""
    add = parser.add_argument
    add("source", metavar="IN", type=Path)
    add(
        "-m",
        type=int,
        action="append",
        metavar="M",
        help=f"a length of groups to look at; may be given again; default: {_listed(SIZES)}",
    )
    add("--include", metavar="GLOB", action="append", default=[], help="look at what matches")
    add("--exclude", metavar="GLOB", action="append", default=[], help="leave what matches")
    add("--workers", type=int, metavar="K", help="threads; default: one for each core")
    add("--force", action="store_true", help="replace a report that exists")
    add("--json", metavar="PATH", type=Path, help="save the report")
    add("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(command=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    sizes = tuple(options.m or SIZES)
    if min(sizes) < _LEAST_M:
        raise NmflowError(f"-m {min(sizes)}: groups have 2 entries or more")
    check_outputs({"--json": options.json}, {"IN": options.source}, overwrite=options.force)
    report = inspect_model(
        options.source,
        sizes=sizes,
        include=options.include,
        exclude=options.exclude,
        workers=options.workers,
    )
    if options.json is not None:
        write_json(options.json, report.as_dict())
    if not options.quiet:
        print_inspection(make_console(), report)
    return 0


def _listed(sizes: tuple[int, ...]) -> str:
    return " ".join(map(str, sizes))
