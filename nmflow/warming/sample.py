"""A small matrix for a large one: solving it compiles, or loads, what the large one needs."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nmflow import priced
from nmflow.certify import certify
from nmflow.problem.arrays import HostArray, as_is
from nmflow.problem.pattern import Pattern
from nmflow.problem.prices import Prices
from nmflow.problem.scores import ScoreName
from nmflow.solve import solve
from nmflow.solvers.interface import Method
from nmflow.solvers.registry import find_method
from nmflow.tracker import Tracker

# So many tiles along a side leave as many partial ones at a ragged edge, which are then solved
# side by side, as in a large matrix.
_TILES = 9
Purpose = Literal["solve", "train", "prune"]
"""What kernels are for: single calls; a :class:`nmflow.Tracker`, and so training; whole models."""
# Beyond it, where tiles are large, fewer will do: they are solved one by one.
_MOST = 512


@dataclass(frozen=True, slots=True)
class Kernels:
    """What a call or more found of the compiled kernels that it needed.

    Attributes
    ----------
    compiled, loaded : int
        How many were compiled, and how many were on the disk.
    folders : tuple of str
        Where those of this process are kept; empty if nowhere.
    """

    compiled: int
    loaded: int
    folders: tuple[str, ...]

    @classmethod
    def so_far(cls) -> Kernels:
        """All that this process has used."""
        if "numba" not in sys.modules:
            return cls(0, 0, ())
        from numba.core.dispatcher import Dispatcher

        used = {
            value
            for name, module in list(sys.modules.items())
            if name.startswith("nmflow.")
            for value in vars(module).values()
            if isinstance(value, Dispatcher) and value.overloads
        }
        stats = [kernel.stats for kernel in used]
        return cls(
            sum(sum(each.cache_misses.values()) for each in stats),
            sum(sum(each.cache_hits.values()) for each in stats),
            tuple(sorted({str(each.cache_path) for each in stats if each.cache_path})),
        )

    def since(self, before: Kernels) -> Kernels:
        """Without those that had been used before."""
        return Kernels(self.compiled - before.compiled, self.loaded - before.loaded, self.folders)

    @property
    def folder(self) -> str | None:
        """The directory to keep in order to keep them all."""
        if not self.folders:
            return None
        from numba import config

        common = os.path.commonpath(self.folders)
        chosen = os.path.realpath(config.CACHE_DIR) if config.CACHE_DIR else None
        inside = chosen and os.path.commonpath([chosen, os.path.realpath(common)]) == chosen
        return config.CACHE_DIR if inside else common


def sample_shape(rows: int, columns: int, m: int) -> tuple[int, int]:
    """The shape of a small matrix that is solved as one of rows x columns is."""
    most = [min(_TILES * m, _MOST) + size % m for size in (rows, columns)]
    return min(rows, most[0]), min(columns, most[1])


def load_kernels(
    shape: tuple[int, int],
    dtype: str,
    pattern: Pattern,
    method: str | Method,
    score: ScoreName,
    *,
    purpose: Purpose = "solve",
) -> float:
    """Compile, or load, what it takes to mask and certify matrices like this; the seconds.

    Parameters
    ----------
    shape : (int, int)
        See :func:`sample_shape`.
    dtype : str
        As numpy names it, or ``"bfloat16"``.
    pattern, method, score
        As for :func:`nmflow.solve`.
    purpose : Purpose
    """
    begin = time.perf_counter()
    weights = sample_weights(shape, dtype)
    # One worker: whatever has to be compiled is compiled under one lock.
    mask, prices = _masked(weights, pattern, method, score, by_pieces=purpose == "prune")
    numbers = _as_float32(weights) if purpose == "prune" and dtype == "bfloat16" else weights
    options: dict[str, Any] = {"pattern": pattern.name, "score": score, "workers": 1}
    certify(numbers, mask, pattern.n, pattern.m, prices=prices, **options)
    if purpose == "train":
        tracked = Tracker(shape, pattern.n, pattern.m, score=score, workers=1)
        # The first update starts from nothing.
        for _ in range(2):
            tracked.refresh(weights)
    return time.perf_counter() - begin


def _masked(
    weights: Any, pattern: Pattern, method: str | Method, score: ScoreName, by_pieces: bool
) -> tuple[Any, Prices | None]:
    """The mask, as :func:`nmflow.solve` finds it or as models are pruned."""
    if by_pieces and pattern.name == "transposable" and find_method(method).name == "flow":
        return priced.solve_for_certificate(weights, pattern, axes=(-2, -1), score=score, workers=1)
    n, m, name = pattern.n, pattern.m, pattern.name
    return solve(weights, n, m, method, pattern=name, score=score, workers=1), None


def _as_float32(weights: HostArray) -> NDArray[np.float32]:
    """bfloat16 as certificates of pruned models read it."""
    return (weights.values.astype(np.uint32) << 16).view(np.float32)


def sample_weights(shape: tuple[int, int], dtype: str) -> Any:
    """Weights of a shape and a dtype, as numpy names it, or ``"bfloat16"``."""
    # Few ties: what tied weights need as well is compiled where they are met.
    values = 100 * np.random.default_rng(0).standard_normal(shape)
    if dtype != "bfloat16":
        return values.astype(dtype)
    bits = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return HostArray(bits, dtype, True, as_is)
