"""What is converted, and how: the rows of the tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from nmflow.problem.pattern import PatternName

# How many texts a model is calibrated on.
SAMPLES = 384


@dataclass(frozen=True)
class How:
    """A way to convert a model.

    Attributes
    ----------
    title : str
    method : str
    reconstruction : str or None
    inputs : {"both", "converted", "dense"}
    published : bool
        Whether it is as somebody has published it, but for the mask's solver.
    """

    title: str
    method: str
    reconstruction: str | None
    inputs: Literal["both", "converted", "dense"] = "converted"
    published: bool = True

    @property
    def bias_correction(self) -> bool:
        """Published methods leave biases as they are."""
        return not self.published


WAYS = (
    How("magnitude", "magnitude", None),
    How("Wanda", "wanda", None),
    How("RIA", "ria", None),
    How("OBS", "obs", None),
    How("AdaPrune (magnitude, Adam)", "adaprune", "adam"),
    How("exact AdaPrune (magnitude, least squares)", "magnitude", "least-squares"),
    How("Wanda, least squares", "wanda", "least-squares"),
    How("SparseGPT", "sparsegpt", None),
    How("SparseGPT, least squares", "sparsegpt", "least-squares"),
    How("ALPS", "alps", "least-squares"),
    How("exact AdaPrune, dense aims", "magnitude", "least-squares", "both", False),
    How("Wanda, least squares, dense aims", "wanda", "least-squares", "both", False),
    How("SparseGPT, least squares, dense aims", "sparsegpt", "least-squares", "both", False),
    How("ALPS, dense aims (the default)", "alps", "least-squares", "both", False),
)


@dataclass(frozen=True)
class Run:
    """One conversion of MiniLM.

    Attributes
    ----------
    how : How
    n, m : int
    pattern : str
    draw : int
        Of the calibration texts.
    samples : int
    sparsity : float
        Of an unstructured magnitude mask that the model has before; its zeros are kept.
    """

    how: How
    n: int
    m: int
    pattern: PatternName = "transposable"
    draw: int = 0
    samples: int = SAMPLES
    sparsity: float = 0.0

    @property
    def key(self) -> dict[str, object]:
        """All that decides what comes out."""
        how = self.how
        row = f"{how.method} {how.reconstruction} {how.inputs} {self.n}-{self.m} {self.pattern}"
        return {
            "task": "minilm",
            "run": row,
            "seed": self.draw,
            "samples": self.samples,
            "sparsity": self.sparsity,
            "biases": how.bias_correction,
        }

    def __str__(self) -> str:
        more = f", {100 * self.sparsity:.0f} % zeros" if self.sparsity else ""
        return (
            f"{self.how.title}, {self.n}:{self.m} {self.pattern}, draw {self.draw},"
            f" {self.samples} texts{more}"
        )


_BY_WAY = {(how.method, how.reconstruction, how.inputs): how for how in WAYS}
DEFAULT = _BY_WAY["alps", "least-squares", "both"]
WANDA = _BY_WAY["wanda", "least-squares", "converted"]
ALPS = _BY_WAY["alps", "least-squares", "converted"]
EXACT_AIMED = _BY_WAY["magnitude", "least-squares", "both"]
EXACT = _BY_WAY["magnitude", "least-squares", "converted"]
COMMON = ((2, 4), (4, 8), (8, 16), (16, 32))
DRAWS = 3
SIZES = (16, 48, 128)
SPARSITIES = (0.5, 0.6, 0.7)


def runs() -> list[Run]:
    """All conversions, those that matter most first."""
    first = [Run(how, 4, 8) for how in WAYS]
    most = [DEFAULT, WANDA, ALPS]
    patterns = [
        Run(how, n, m, pattern)
        for how in (*most, *(how for how in WAYS if how not in most))
        for pattern in ("transposable", "rows")
        for n, m in COMMON
        if (n, m, pattern) != (4, 8, "transposable")
    ]
    default = [run for run in patterns if run.how == DEFAULT]
    important = [run for run in patterns if run.how in most]
    draws = [
        Run(how, 4, 8, draw=draw)
        for draw in range(1, DRAWS)
        for how in (EXACT, EXACT_AIMED, DEFAULT, WANDA, ALPS)
    ]
    zeros = [Run(how, 4, 8, sparsity=share) for share in SPARSITIES for how in (WANDA, DEFAULT)]
    sizes = [Run(how, 4, 8, samples=size) for size in SIZES for how in most]
    rest = patterns[len(important) :]
    return first + default + draws + sizes + zeros + important[len(default) :] + rest


def quick() -> list[Run]:
    """Some that take a minute."""
    return [replace(Run(how, 4, 8), samples=16) for how in (WANDA, DEFAULT)]
