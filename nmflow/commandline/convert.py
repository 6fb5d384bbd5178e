"""``nmflow convert``: a Hugging Face folder with an n:m sparse model."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from nmflow.checkpoint import VerificationError
from nmflow.checkpoint.console import make_console, plain, progress_bar, promise
from nmflow.commandline.convert_folder import convert_folder
from nmflow.commandline.folder_report import FolderReport, Job, Text
from nmflow.commandline.outputs import check_outputs, write_json
from nmflow.errors import NmflowError
from nmflow.problem.pattern import PATTERNS, Pattern

NOTES = """\
MODEL is a folder with config.json, a tokenizer and weights in safetensors: nothing is downloaded,
and no code of a model is run. The class that the config names is read from it, and weights are
converted layer after layer as nmflow.torch.convert does it: masks are exact, what is kept is fitted
anew to what the layers see of the calibration text. Which weights, `nmflow prune --help` says;
globs match names of weights or modules, and --include takes those that are dense by default, too.

FILE is text in UTF-8: a sample for each line that is not empty, or with --paragraphs for what is
between empty lines. The first --samples are taken and cut at --length tokens. They should be like
what the model will see; a few hundred do.

OUT is a folder of the same kind, with the report in conversion.json. All files of MODEL but weights
are carried over, hidden ones left out. It appears under its name once it was read back: every
tensor is what was to be written, and weights are n:m when counted. With --resume FOLDER, finished
layers are kept in FOLDER, and the same command goes on from them after an interrupt.

Exit codes: 0; 1 a verification failed; 2 an error."""
"""What the help ends with."""

_METHODS = "alps, sparsegpt, obs, ria, wanda, magnitude or adaprune; default: %(default)s"
_RECONSTRUCTIONS = "of the weights kept: auto, least-squares, adam or none; default: %(default)s"
_INPUTS = "what layers are fitted to, see nmflow.torch.convert; default: %(default)s"
_UNREACHED = "weights that no sample reaches: an error, or by magnitude; default: %(default)s"


def add_convert(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow convert``."""
    add = parser.add_argument
    add("source", metavar="MODEL", type=Path)
    add("target", metavar="OUT", type=Path)
    add("-n", type=int, required=True, help="how many to keep ...")
    add("-m", type=int, required=True, help="... of every m")
    add("--calibration", metavar="FILE", type=Path, required=True, help="text, a sample a line")
    add("--paragraphs", action="store_true", help="samples are paragraphs, not lines")
    add("--samples", type=int, metavar="K", default=256, help="at most; default: %(default)s")
    add("--length", type=int, metavar="K", help="tokens of a sample; default: 128 or the model's")
    add("--batch", type=int, metavar="K", default=16, help="samples; default: %(default)s")
    add("--method", default="alps", help=_METHODS)
    add("--reconstruction", default="auto", metavar="HOW", help=_RECONSTRUCTIONS)
    add("--pattern", choices=PATTERNS, default="transposable", help="default: %(default)s")
    add("--inputs", choices=("both", "converted", "dense"), default="both", help=_INPUTS)
    add("--include", metavar="GLOB", action="append", default=[], help="convert what matches")
    add("--exclude", metavar="GLOB", action="append", default=[], help="leave what matches")
    add("--damping", type=float, default=0.01, help="default: %(default)s")
    add("--keep-zeros", action="store_true", help="weights that are 0 stay 0")
    add("--permute", action="store_true", help="first put rows and columns where masks keep more")
    add("--rotate", action="store_true", help="first turn heads to bases in which masks cost less")
    add("--unreached", choices=("error", "magnitude"), default="error", help=_UNREACHED)
    add(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of the model, here and in OUT; default: that of MODEL",
    )
    add("--resume", metavar="FOLDER", type=Path, help="keep finished layers, or go on from them")
    add("--force", action="store_true", help="replace what exists: OUT if this command wrote it")
    add("--json", metavar="PATH", type=Path, help="save the report, also of a failure")
    add("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(command=_convert)


def _convert(options: argparse.Namespace) -> int:
    _check(options)
    try:
        report = _run(options)
    except VerificationError as error:
        if options.json is not None:
            write_json(options.json, error.report.as_dict())
        raise
    if options.json is not None:
        write_json(options.json, report.as_dict())
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse numbers and paths that make no sense."""
    for name in ("samples", "length", "batch"):
        count = getattr(options, name)
        if count is not None and count < 1:
            raise NmflowError(f"--{name} must be 1 or more, got {count}")
    places = {
        "MODEL": options.source,
        "OUT": options.target,
        "--calibration": options.calibration,
        "--resume": options.resume,
        "--json": options.json,
    }
    # OUT is replaced whole, and MODEL carried over whole.
    _refuse_inside("OUT", places)
    _refuse_inside("MODEL", {name: places[name] for name in ("MODEL", "OUT", "--resume")})
    check_outputs(
        {"--json": options.json},
        {"--calibration": options.calibration},
        overwrite=options.force,
    )


def _refuse_inside(folder: str, places: dict[str, Path | None]) -> None:
    outer = places[folder]
    for name, path in places.items():
        if name != folder and path is not None and outer is not None:
            inner, around = path.resolve(), outer.resolve()
            if inner == around or around in inner.parents:
                raise NmflowError(f"{name} must not lie in {folder}: {path} is in {outer}")


def _run(options: argparse.Namespace) -> FolderReport:
    run = partial(convert_folder, _job(options), overwrite=options.force)
    if options.quiet:
        return run()
    console = make_console()
    with progress_bar(make_console(sys.stderr)) as progress:
        report = run(progress=progress)
    console.print(plain(_told(report)), soft_wrap=True)
    console.print(
        f"[green]Verified[/green] on the written folder: {promise(report.job.pattern)};"
        " every tensor is read back as it was written."
    )
    console.print(
        f"Wrote {plain(str(report.job.target))} in {report.seconds:.1f} s.", soft_wrap=True
    )
    return report


def _job(options: argparse.Namespace) -> Job:
    return Job(
        source=options.source,
        target=options.target,
        pattern=Pattern(options.n, options.m, options.pattern),
        text=Text(
            path=options.calibration,
            samples=options.samples,
            paragraphs=options.paragraphs,
            length=options.length,
            batch=options.batch,
        ),
        dtype=options.dtype,
        include=tuple(options.include),
        exclude=tuple(options.exclude),
        resume=options.resume,
        options={
            "method": options.method,
            "reconstruction": None if options.reconstruction == "none" else options.reconstruction,
            "inputs": options.inputs,
            "damping": options.damping,
            "keep_zeros": options.keep_zeros,
            "permute": options.permute,
            "rotate": options.rotate,
            "unreached": options.unreached,
        },
    )


def _told(report: FolderReport) -> str:
    seen = report.calibration
    text = f"Calibrated on {seen.samples} samples, {seen.tokens:,} tokens, of"
    return "\n".join([str(report.conversion), f"{text} {report.job.text.path}", *report.notes])
