"""``nmflow doctor``: what masks buy on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from nmflow.errors import NmflowError

NOTES = """\
With MODEL (a safetensors file, a Hugging Face folder or a file of torch.save) each layer is told
with the hardware that multiplies by it natively, as it is, forwards and backwards, and with what a
2:4 layer of its shape takes here. Times are measured here and now, in bfloat16, and only where a
device multiplies by 2:4 weights; nothing is extrapolated to other devices or patterns.

Exit codes: 0; 2 an error."""
"""What the help ends with."""


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow doctor``."""
    parser.add_argument("model", metavar="MODEL", type=Path, nargs="?", help="look at its layers")
    parser.add_argument(
        "--shape",
        action="append",
        metavar="OUTxIN",
        help="of a linear layer to time; may be given again; default: those of an 8B model",
    )
    parser.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from nmflow.torch.accelerating.doctor import SHAPES, examine_devices

    shapes = [_shape(text) for text in options.shape or ()]
    if options.shape is None and options.model is None:
        shapes = list(SHAPES)
    for line in examine_devices(shapes):
        print(line, flush=True)
    for line in () if options.model is None else _layers(options.model):
        print(line, flush=True)
    return 0


def _layers(model: Path) -> Iterator[str]:
    """A line for each layer of a model's files."""
    from nmflow.checkpoint import inspect_model
    from nmflow.torch.accelerating.examine import ExaminedLayer, Timings

    report, timings = inspect_model(model), Timings()
    for layer in report.layers:
        ways = (_hardware(layer.forward), _hardware(layer.backward))
        measured = timings.of(layer.matrix)
        yield str(ExaminedLayer(layer.name, layer.matrix, layer.dtype, *ways, measured))
    yield f"{len(report.layers)} layers; {len(report.skipped)} tensors are dense by default"


def _hardware(native: Iterable[str]) -> tuple[str, ...]:
    """Vendors and generations, without the instructions."""
    return tuple(dict.fromkeys(each.partition(":")[0] for each in native))


def _shape(text: str) -> tuple[int, int]:
    out, _, into = text.partition("x")
    if not (out.isdecimal() and into.isdecimal()) or int(out) % 64 or int(into) % 64:
        raise NmflowError(
            f"--shape {text}: give OUTxIN, both multiples of 64, which sparse products need, such"
            " as 4096x4096"
        )
    return int(out), int(into)
