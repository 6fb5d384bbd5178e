"""``nmflow prune``: a model with n:m sparse layers, as the kind of files that it was."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nmflow.checkpoint import Plan, VerificationError, plan_checkpoint, prune_checkpoint
from nmflow.checkpoint.console import make_console, print_plan, print_report, progress_bar
from nmflow.checkpoint.picture import check_picture, save_picture
from nmflow.checkpoint.report import PruneReport
from nmflow.commandline.outputs import check_outputs, write_json
from nmflow.problem.pattern import PATTERNS

_COMPARE_HELP = (
    "say, or leave out, what the other patterns' masks would keep, which costs about as much time"
    " as finding the masks (MiniLM at 8:16: 0.05 s), and whole layers in memory; default: said of"
    " models of up to 268 million weights"
)
_LAYERS_HELP = (
    'other patterns by layer: lines of "GLOB" = {n = 4, m = 8, pattern = "rows"}, of which some may'
    ' be left out, or "GLOB" = "skip"; the first glob that matches decides'
)
_SCHEDULER_HELP = (
    "of a running Dask cluster, tcp://HOST:PORT, whose workers solve and certify: they need nmflow"
    " and must see IN under the same path"
)
_RESUME_HELP = "go on where an earlier run with the same options was killed, if one was"

NOTES = """
IN is a .safetensors file, a Hugging Face folder (in one file or in shards), or a file of
torch.save, whose tensors may be anywhere in nested dicts (read without PyTorch; a pickle that could
run code is refused). OUT is of the same kind, and equal but for the pruned weights; a folder's
other files go along. It comes about in .OUT.nmflow-partial beside it and is renamed when it is
complete and verified. A run that was killed leaves that folder: --resume goes on with it, --force
starts over.

Exit codes: 0; 1 a verification failed; 2 an error; 130 interrupted, 143 terminated."""


def add_prune(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow prune``."""
    add = parser.add_argument
    add("source", metavar="IN", type=Path)
    add("target", metavar="OUT", type=Path)
    add("-n", type=int, required=True, help="how many to keep ...")
    add("-m", type=int, required=True, help="... of every m")
    add("--method", default="flow", help="see `nmflow methods`; default: %(default)s")
    add("--pattern", choices=PATTERNS, default="transposable", help="default: %(default)s")
    add("--score", choices=("abs", "square", "raw"), default="abs", help="default: %(default)s")
    add("--include", metavar="GLOB", action="append", default=[], help="prune what matches")
    add("--exclude", metavar="GLOB", action="append", default=[], help="leave what matches")
    add("--layers", metavar="FILE.toml", type=Path, help=_LAYERS_HELP)
    add(
        "--keep-zeros",
        action="store_true",
        help="keep no weight that is 0, of a model that is sparse already",
    )
    add(
        "--masks-only",
        action="store_true",
        help="write a safetensors file of the masks, one bit a weight, in place of the model",
    )
    add("--dry-run", action="store_true", help="say what would be done, and write nothing")
    add("--workers", type=int, metavar="K", help="threads; default: one for each core")
    add("--scheduler", metavar="ADDRESS", help=_SCHEDULER_HELP)
    add("--resume", action="store_true", help=_RESUME_HELP)
    add("--force", action="store_true", help="replace files that exist, and what a run left")
    add("--figure", metavar="PATH", type=Path, help="save a picture: .png, .pdf or .svg")
    add("--json", metavar="PATH", type=Path, help="save the report, or the plan")
    add("--compare", action=argparse.BooleanOptionalAction, help=_COMPARE_HELP)
    add("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(command=_prune)


def _prune(options: argparse.Namespace) -> int:
    files = {"the input": options.source, "the output": options.target}
    reports = {"--json": options.json, "--figure": options.figure}
    check_outputs(reports, files, overwrite=options.force or options.resume)
    if options.figure is not None:
        check_picture(options.figure)
    if options.dry_run:
        return _dry_run(options)
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


def _with_options(call: Callable[..., Any], options: argparse.Namespace) -> Callable[..., Any]:
    return partial(
        call,
        *(options.source, options.target, options.n, options.m, options.method),
        pattern=options.pattern,
        score=options.score,
        include=options.include,
        exclude=options.exclude,
        by_layer=options.layers,
        keep_zeros=options.keep_zeros,
        masks_only=options.masks_only,
        compare=options.compare,
    )


def _dry_run(options: argparse.Namespace) -> int:
    plan: Plan = _with_options(plan_checkpoint, options)()
    plan.check_target(overwrite=options.force or options.resume)
    if options.json is not None:
        write_json(options.json, plan.as_dict())
    if not options.quiet:
        print_plan(make_console(), plan)
    return 0


def _run(options: argparse.Namespace) -> PruneReport:
    run: Callable[..., PruneReport] = partial(
        _with_options(prune_checkpoint, options),
        workers=options.workers,
        overwrite=options.force,
        resume=options.resume,
        scheduler=options.scheduler,
    )
    if options.quiet:
        return run()
    console = make_console()
    with progress_bar(make_console(sys.stderr), in_bytes=True) as progress:
        report = run(progress=progress)
    print_report(console, report)
    return report
