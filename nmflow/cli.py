"""The command line: ``nmflow prune``, ``warmup``, ``methods`` and ``diversity``.

Exit codes: 0 all is well; 1 a verification failed; 2 an error; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from os.path import realpath
from pathlib import Path

import nmflow
from nmflow.checkpoint import VerificationError, prune_checkpoint
from nmflow.checkpoint.console import make_console, print_methods, print_report, progress_bar
from nmflow.checkpoint.files import check_target, replacing, write
from nmflow.checkpoint.picture import check_picture, save_picture
from nmflow.checkpoint.report import PruneReport
from nmflow.diversity.table import compare_patterns, print_comparison
from nmflow.errors import NmflowError
from nmflow.models import RULE
from nmflow.problem.pattern import PATTERNS
from nmflow.warming.processes import DTYPES as WARMUP_DTYPES
from nmflow.warming.processes import PATTERNS as WARMUP_PATTERNS
from nmflow.warming.processes import summary

VERIFICATION_FAILED = 1
ERROR = 2
INTERRUPTED = 130

_DIVERSITY_HELP = "count the masks that each pattern allows, exactly and by the paper's formulas"
_PRUNE_HELP = "write a copy of a safetensors file with n:m sparse layers"
_COMPARE_HELP = (
    "leave out what the other patterns' masks would keep, which costs about as much time as"
    " finding the masks (MiniLM at 8:16: 0.05 s)"
)
_WARMUP_HELP = "compile kernels ahead of their first use, in parallel, and keep them on the disk"
_WARMUP_NOTES = """\
Kernels are kept where numba keeps its cache: in NUMBA_CACHE_DIR if that is set and can
be written to, else beside nmflow's sources or in the user's cache directory. They serve
the same versions of nmflow, numba and Python, installed in the same place, on processors
of the same name and features; anywhere else they are compiled again. To compile on one
machine for others, set NUMBA_CPU_NAME and NUMBA_CPU_FEATURES to what all of them have,
here and there. numba looks only in directories that the user may write to.

Exit codes: 0; 2 an error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        exit_code: int = options.command(options)
    except VerificationError as error:
        for failure in error.report.failures:
            _complain(f"verification failed: {failure}")
        _complain("nothing was written")
        return VERIFICATION_FAILED
    except NmflowError as error:
        _complain(f"error: {error}")
        return ERROR
    except OSError as error:
        _complain(f"error: {error.strerror or error}")
        return ERROR
    except MemoryError:
        _complain("error: not enough memory for a layer")
        return ERROR
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    return exit_code


def _complain(message: str) -> None:
    print("nmflow:", " ".join(message.split()), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nmflow", description="Provably optimal transposable n:m sparsity masks."
    )
    parser.add_argument("--version", action="version", version=f"nmflow {nmflow.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_prune(
        commands.add_parser(
            "prune",
            help=_PRUNE_HELP,
            description=_PRUNE_HELP[0].upper() + _PRUNE_HELP[1:] + ".",
            epilog=RULE + "\n\nExit codes: 0; 1 a verification failed; 2 an error.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _add_warmup(
        commands.add_parser(
            "warmup",
            help=_WARMUP_HELP,
            description=_WARMUP_HELP[0].upper() + _WARMUP_HELP[1:] + ".",
            epilog=_WARMUP_NOTES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    methods = commands.add_parser("methods", help="list the methods and what each guarantees")
    methods.set_defaults(command=_methods)
    _add_diversity(commands.add_parser("diversity", help=_DIVERSITY_HELP))
    return parser


def _add_prune(parser: argparse.ArgumentParser) -> None:
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
    add("--workers", type=int, metavar="K", help="threads; default: one for each core")
    add("--force", action="store_true", help="replace files that exist")
    add("--figure", metavar="PATH", type=Path, help="save a picture: .png, .pdf or .svg")
    add("--json", metavar="PATH", type=Path, help="save the report")
    add("--no-compare", action="store_true", help=_COMPARE_HELP)
    add("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(command=_prune)


def _add_warmup(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("patterns", metavar="N:M", nargs="*", help=f"default: {' '.join(WARMUP_PATTERNS)}")
    add(
        "--dtype",
        nargs="+",
        default=WARMUP_DTYPES,
        metavar="DTYPE",
        help=f"of the weights; default: {' '.join(WARMUP_DTYPES)}",
    )
    add("--method", default="flow", help="see `nmflow methods`; default: %(default)s")
    add("--score", choices=("abs", "square", "raw"), default="abs", help="default: %(default)s")
    add("--tracker", action="store_true", help="for masks that follow weights in training, too")
    add("--no-ragged", action="store_true", help="only for shapes that m divides")
    add("--workers", type=int, metavar="K", help="processes; default: one for each core")
    parser.set_defaults(command=_warmup)


def _add_diversity(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("n", type=int, help="how many to keep ...")
    add("m", type=int, help="... of every m")
    add(
        *("--shape", "-s"),
        type=int,
        nargs="+",
        metavar="SIDE",
        help="of the weights; default: 8 8 where m divides 8, else m m",
    )
    parser.set_defaults(command=_diversity)


def _prune(options: argparse.Namespace) -> int:
    _check_outputs(options)
    try:
        report = _run(options)
    except VerificationError as error:
        if options.json is not None:
            _write_json(options.json, error.report)
        raise
    if options.json is not None:
        _write_json(options.json, report)
    if options.figure is not None:
        save_picture(report, options.figure)
    return 0


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse what can't be written before the work begins."""
    paths = {
        "the input": options.source,
        "the output": options.target,
        "--figure": options.figure,
        "--json": options.json,
    }
    for label in ("--figure", "--json"):
        path = paths.pop(label)
        if path is None:
            continue
        for other, taken in paths.items():
            if taken is not None and realpath(path) == realpath(taken):
                raise NmflowError(f"{label} and {other} are the same file: {path}")
        check_target(path, overwrite=options.force)
    if options.figure is not None:
        check_picture(options.figure)


def _run(options: argparse.Namespace) -> PruneReport:
    run = partial(
        prune_checkpoint,
        *(options.source, options.target, options.n, options.m, options.method),
        pattern=options.pattern,
        score=options.score,
        include=options.include,
        exclude=options.exclude,
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


def _write_json(path: Path, report: PruneReport) -> None:
    text = json.dumps({"nmflow": nmflow.__version__, **report.as_dict()}, indent=2)
    with replacing(path) as file:
        write(file, text.encode() + b"\n")


def _warmup(options: argparse.Namespace) -> int:
    warmed = nmflow.warmup(
        options.patterns or WARMUP_PATTERNS,
        options.dtype,
        method=options.method,
        score=options.score,
        ragged=not options.no_ragged,
        tracker=options.tracker,
        workers=options.workers,
        progress=lambda each: print(each, flush=True),
    )
    print(summary(warmed))
    return 0


def _methods(options: argparse.Namespace) -> int:
    print_methods(make_console())
    return 0


def _diversity(options: argparse.Namespace) -> int:
    comparison = compare_patterns(options.n, options.m, options.shape)
    print_comparison(make_console(), comparison)
    return 0


if __name__ == "__main__":
    sys.exit(main())
