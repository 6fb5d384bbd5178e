"""``nmflow doctor``: what masks buy on this machine."""

from __future__ import annotations

import argparse

from nmflow.errors import NmflowError

NOTES = """\
Times are measured here and now, in bfloat16, and only where a device multiplies by 2:4
weights; nothing is extrapolated to other devices or patterns.

Exit codes: 0; 2 an error."""
"""What the help ends with."""


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow doctor``."""
    parser.add_argument(
        "--shape",
        action="append",
        metavar="OUTxIN",
        help="of a linear layer to time; may be given again; default: those of an 8B model",
    )
    parser.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from nmflow.torch.accelerating.doctor import SHAPES, examine

    shapes = SHAPES if options.shape is None else [_shape(text) for text in options.shape]
    for line in examine(shapes):
        print(line, flush=True)
    return 0


def _shape(text: str) -> tuple[int, int]:
    out, _, into = text.partition("x")
    if not (out.isdecimal() and into.isdecimal()) or int(out) % 64 or int(into) % 64:
        raise NmflowError(
            f"--shape {text}: give OUTxIN, both multiples of 64, which sparse products need, such"
            " as 4096x4096"
        )
    return int(out), int(into)
