"""Local search: greedy-keep, filled by insert-swaps, improved by exchanges."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nmflow.compiling.jit import compile_kernel
from nmflow.methods.heuristics.moves import make_tile, repair
from nmflow.methods.heuristics.ordering import make_scratch, order_group
from nmflow.methods.heuristics.rounding import keep_group


@compile_kernel
def solve_batch(
    scores: NDArray[Any], columns: int, n: int, full: bool, sweeps: int, kept: NDArray[Any]
) -> None:
    """Solve tiles group by group."""
    tiles, rows, _ = kept.shape
    scratch, lanes = make_scratch(rows, columns)
    _, _, entries, keys, natural = scratch
    state = make_tile(rows, columns)
    for first in range(0, tiles, lanes):
        order_group(scores, first, columns, scratch, lanes)
        if full:
            natural[:] = entries.size
        keep_group(keys, lanes, natural, n, first, kept)
        for tile in range(first, min(first + lanes, tiles)):
            repair(state, scores[tile], kept[tile], n, full, sweeps)
