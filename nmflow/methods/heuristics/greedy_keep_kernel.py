"""Greedy-keep: scan heavy to light, keep what has room."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel
from nmflow.methods.heuristics.ordering import make_scratch, order_group
from nmflow.methods.heuristics.rounding import keep_group


@compile_kernel
def solve_batch(scores: NDArray[Any], columns: int, n: int, full: bool, kept: NDArray[Any]) -> None:
    """Solve tiles group by group."""
    scratch, lanes = make_scratch(scores.shape[1] // columns, columns)
    _, _, entries, keys, natural = scratch
    for first in range(0, scores.shape[0], lanes):
        order_group(scores, first, columns, scratch, lanes)
        if full:
            natural[:] = entries.size
        keep_group(keys, lanes, natural, n, first, kept)
