"""The one list of methods: what each is called, what it promises, where its code is.

A method is a frozen object that carries its options; its plain name stands for the object with
default options. The module that solves is imported when a method first solves, so that listing
methods loads nothing.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError


class TileSolver(Protocol):
    """What a solver's module provides under the name ``solve_tiles``."""

    def __call__(
        self, scores: NDArray[Any], n: int, full: bool, method: Any, /
    ) -> NDArray[np.bool_]:
        """Masks of a batch of equal tiles.

        Parameters
        ----------
        scores : ndarray, shape (T, r, c), float64, int64 or uint64
            C-contiguous, finite; owned by the solver, which may overwrite it.
        n : int
        full : bool
            True: r = c = m, every row and column keeps exactly n. False: a partial tile, at most
            n; entries of negative score are not kept.
        method : Method
            The options.
        """
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """One way to find masks, with its options as fields.

    Attributes
    ----------
    name : str
        What ``solve(method=...)`` calls it.
    exact : bool
        Whether the mask is always optimal.
    guarantee, complexity, source : str
        What it promises, its cost per m x m tile, and where it is published.
    extra : str or None
        The optional dependency group it needs.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    guarantee: ClassVar[str]
    complexity: ClassVar[str]
    source: ClassVar[str]
    extra: ClassVar[str | None] = None
    module: ClassVar[str]

    def tile_solver(self) -> TileSolver:
        """The function that solves tiles; imports its module."""
        solver: TileSolver = importlib.import_module(self.module).solve_tiles
        return solver


@dataclass(frozen=True, slots=True)
class Flow(Method):
    """Exact min-cost flow: midpoint dual ascent, then shortest augmenting paths.

    The default method, and the only one that follows the tie rule at every size: its mask is a
    property of the tile (see :mod:`nmflow.ties`).
    """

    name: ClassVar[str] = "flow"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal; ties by a fixed rule, so the mask is unique"
    complexity: ClassVar[str] = "O(k m^2) for k units left by the dual ascent, k <= n m"
    source: ClassVar[str] = (
        "min-cost flow model: Hubara et al., NeurIPS 2021, sec. 3; augmentation: "
        "Ahuja, Magnanti & Orlin, Network Flows (1993), sec. 9.7"
    )
    module: ClassVar[str] = "nmflow.solvers.flow"


METHODS: dict[str, Method] = {method.name: method for method in (Flow(),)}


def find_method(method: str | Method) -> Method:
    """The method of that name, or the object itself."""
    if isinstance(method, Method):
        return method
    if method in METHODS:
        return METHODS[method]
    near = difflib.get_close_matches(str(method), METHODS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise NmflowError(
        f"unknown method {method!r}{hint} (known: {', '.join(map(repr, METHODS))};"
        " see nmflow.methods())"
    )
