"""How often each loop of the kernels runs, counted by running them on the host."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from benchmarks.gpu import host_kernels
from nmflow.cuda.problem import DIFFICULT, OPEN

# What is counted, and the loop's first line, which has the count put behind it.
PLACES = {
    "rounds": "if (!WARM || round) {",
    "looks": "if (round < first_look) continue;",
    "careful": "Int certain = careful_scores(raw, largest, s);",
    "word_rounds": "SERIAL for (int round = 0; round < WORD_ROUNDS; round++) {",
    "starts": "Long x[M], upper, lower;",
    "sweeps": "Bool some = Bool(false);",
    "proof_rounds": "Long before = columns;",
}


def counted(text: str) -> str:
    """The kernels' text with counters."""
    for number, line in enumerate(PLACES.values()):
        # Twice where there are both a full and a partial stage's.
        text = text.replace(line, f"{line} COUNTS[{number}]++;")
    head = f"static long long COUNTS[{len(PLACES)}];\n"
    return head + text + '\nextern "C" long long* counts() { return COUNTS; }\n'


def count(
    n: int, m: int, weights: Any, before: Any = None, signed: bool = False
) -> dict[str, float]:
    """Runs of each loop, and open and difficult tiles, a tile of one matrix.

    With weights of a refresh before, from whose potentials this one starts.
    """
    warm = [] if before is None else [host_kernels.no_potentials((1, *weights.shape), m)]
    kernels = host_kernels.library(n, m, signed=signed, warm=bool(warm), change=counted)
    options = {"signed": signed, "warm": warm, "change": counted}
    if warm:
        host_kernels.solve_each([before[None]], n, m, **options)
    kernels.counts.restype = ctypes.POINTER(ctypes.c_longlong)
    counts = kernels.counts()
    for number in range(len(PLACES)):
        counts[number] = 0
    solved = host_kernels.solve_each([weights[None]], n, m, **options)
    tiles = weights.size / m**2
    found = {name: counts[number] / tiles for number, name in enumerate(PLACES)}
    found["open"] = int(solved.counters[0, OPEN]) / tiles
    found["difficult"] = int(solved.counters[0, DIFFICULT]) / tiles
    return found


def gaussian(side: int) -> Any:
    """A matrix of standard normal weights."""
    return np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
