"""The command line: ``nmflow prune``, ``convert``, ``warmup``, ``doctor``, and what lists things.

Exit codes: 0 all is well; 1 a verification failed; 2 an error; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import nmflow
from nmflow.checkpoint import VerificationError
from nmflow.checkpoint.console import make_console, print_methods
from nmflow.commandline import convert, doctor, inspect, prune, report, verify, warmup
from nmflow.commandline.convert import add_convert
from nmflow.commandline.doctor import add_doctor
from nmflow.commandline.inspect import add_inspect
from nmflow.commandline.prune import add_prune
from nmflow.commandline.report import add_report
from nmflow.commandline.stopping import Terminated, terminable
from nmflow.commandline.verify import add_verify
from nmflow.commandline.warmup import add_warmup
from nmflow.diversity.table import compare_patterns, print_comparison
from nmflow.errors import NmflowError
from nmflow.models import RULE

VERIFICATION_FAILED = 1
ERROR = 2
INTERRUPTED = 130
TERMINATED = 143

_DIVERSITY_HELP = "count the masks that each pattern allows, exactly and by the paper's formulas"
_PRUNE_HELP = "write a copy of a model with n:m sparse layers: safetensors, folder or PyTorch's"
_PRUNE_NOTES = RULE + "\n" + prune.NOTES
_VERIFY_HELP = "hold a model against n:m, and against the dense one that it was made of"
_INSPECT_HELP = "say of every layer what n:m it has or could have, and what hardware runs it"
_REPORT_HELP = "write a page of HTML, complete in itself, about what a model keeps"
_CONVERT_HELP = "write a copy of a Hugging Face folder, converted to n:m with calibration text"
_DOCTOR_HELP = "say what masks can speed up on this machine's devices, and measure it"
_WARMUP_HELP = "compile kernels ahead of their first use, in parallel, and keep them on the disk"


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
        with terminable():
            exit_code: int = options.command(options)
    except VerificationError as error:
        for failure in error.report.failures:
            _complain(f"verification failed: {failure}")
        _complain("nothing was written")
        return VERIFICATION_FAILED
    except (NmflowError, OSError, MemoryError) as error:
        _complain(f"error: {_in_words(error)}{_notes(error)}")
        return ERROR
    except (KeyboardInterrupt, Terminated) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        _complain(f"{'interrupted' if interrupted else 'terminated'}{_notes(error)}")
        return INTERRUPTED if interrupted else TERMINATED
    return exit_code


def _in_words(error: NmflowError | OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory for a layer"
    return str(getattr(error, "strerror", None) or error)


def _notes(error: BaseException) -> str:
    """What else there is to say about it."""
    return "".join(f"; {note}" for note in getattr(error, "__notes__", ()))


def _complain(message: str) -> None:
    print("nmflow:", " ".join(message.split()), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nmflow", description="Provably optimal transposable n:m sparsity masks."
    )
    parser.add_argument("--version", action="version", version=f"nmflow {nmflow.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add, purpose, notes in (
        ("prune", add_prune, _PRUNE_HELP, _PRUNE_NOTES),
        ("verify", add_verify, _VERIFY_HELP, verify.NOTES),
        ("inspect", add_inspect, _INSPECT_HELP, inspect.NOTES),
        ("report", add_report, _REPORT_HELP, report.NOTES),
        ("convert", add_convert, _CONVERT_HELP, convert.NOTES),
        ("warmup", add_warmup, _WARMUP_HELP, warmup.NOTES),
        ("doctor", add_doctor, _DOCTOR_HELP, doctor.NOTES),
    ):
        add(
            commands.add_parser(
                name,
                help=purpose,
                description=purpose[0].upper() + purpose[1:] + ".",
                epilog=notes,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    methods = commands.add_parser("methods", help="list the methods and what each guarantees")
    methods.set_defaults(command=_methods)
    _add_diversity(commands.add_parser("diversity", help=_DIVERSITY_HELP))
    return parser


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


def _methods(options: argparse.Namespace) -> int:
    print_methods(make_console())
    return 0


def _diversity(options: argparse.Namespace) -> int:
    comparison = compare_patterns(options.n, options.m, options.shape)
    print_comparison(make_console(), comparison)
    return 0


if __name__ == "__main__":
    sys.exit(main())
