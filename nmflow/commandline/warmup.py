"""``nmflow warmup``: kernels compiled ahead of their first use."""

from __future__ import annotations

import argparse
from typing import get_args

import nmflow
from nmflow.warming.processes import DTYPES, PATTERNS, summary
from nmflow.warming.sample import Purpose

NOTES = """\
Kernels are kept where numba keeps its cache: in NUMBA_CACHE_DIR if that is set and can
be written to, else beside nmflow's sources or in the user's cache directory. They serve
the same versions of nmflow, numba and Python, installed in the same place, on processors
of the same name and features; anywhere else they are compiled again. To compile on one
machine for others, set NUMBA_CPU_NAME and NUMBA_CPU_FEATURES to what all of them have,
here and there. numba looks only in directories that the user may write to.

Exit codes: 0; 2 an error."""
"""What the help ends with."""


def add_warmup(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of ``nmflow warmup``."""
    add = parser.add_argument
    add("patterns", metavar="N:M", nargs="*", help=f"default: {' '.join(PATTERNS)}")
    add(
        "--dtype",
        nargs="+",
        default=DTYPES,
        metavar="DTYPE",
        help=f"of the weights; default: {' '.join(DTYPES)}",
    )
    add("--method", default="flow", help="see `nmflow methods`; default: %(default)s")
    add("--score", choices=("abs", "square", "raw"), default="abs", help="default: %(default)s")
    add(
        "--for",
        dest="purpose",
        choices=get_args(Purpose),
        default="solve",
        help="calls of nmflow.solve and certify; training too; or `nmflow prune` alone;"
        " default: %(default)s",
    )
    add("--no-ragged", action="store_true", help="only for shapes that m divides")
    add("--workers", type=int, metavar="K", help="processes; default: one for each core")
    parser.set_defaults(command=_warmup)


def _warmup(options: argparse.Namespace) -> int:
    warmed = nmflow.warmup(
        options.patterns or PATTERNS,
        options.dtype,
        method=options.method,
        score=options.score,
        ragged=not options.no_ragged,
        purpose=options.purpose,
        workers=options.workers,
        progress=lambda each: print(each, flush=True),
    )
    print(summary(warmed))
    return 0
