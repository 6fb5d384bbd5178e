"""The runs, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Run:
    """What masks a run has, if any.

    Attributes
    ----------
    name : str
    n, m : int
        Both 0: dense.
    pattern, method : str
        As for :func:`nmflow.solve`.
    rule : {"ste", "sr-ste"}
        How pruned weights learn.
    every : int
        Optimizer steps between refreshes; 0: the masks of the first day stay.
    from_dense : bool
        Start from what the dense run of the same seed ended with, not from the seed's weights.
    """

    name: str
    n: int = 0
    m: int = 0
    pattern: Literal["transposable", "rows"] = "transposable"
    method: str = "flow"
    rule: Literal["ste", "sr-ste"] = "ste"
    every: int = 40
    from_dense: bool = False


DENSE = Run("dense")
RUNS = (
    DENSE,
    *(
        Run(f"{n}:{m} {rule.upper()}", n, m, rule=rule)
        for n, m in ((2, 4), (4, 8), (8, 16))
        for rule in ("ste", "sr-ste")
    ),
    *(Run(f"{n}:{m} STE, every step", n, m, every=1) for n, m in ((2, 4), (4, 8), (8, 16))),
    Run("4:8 fixed at the start", 4, 8, every=0),
    Run("4:8 fixed after dense", 4, 8, every=0, from_dense=True),
    Run("2:4 one-way", 2, 4, pattern="rows"),
    Run("4:8 one-way", 4, 8, pattern="rows"),
    Run("4:8 greedy-keep", 4, 8, method="greedy-keep"),
)
BY_NAME = {run.name: run for run in RUNS}
