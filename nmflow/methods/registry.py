"""The one list of methods: what each is called, what it promises, where its code is.

A method is a frozen object that carries its options; its plain name stands for the object with
default options. The module that solves is imported when a method first solves, so that listing
methods loads nothing.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError

# Beyond it exp(tau) overflows float32.
MAX_TAU = 80.0


class TileSolver(Protocol):
    """What a solver's module provides under the name ``solve_tiles``."""

    def __call__(
        self, scores: NDArray[Any], n: int, full: bool, method: Any, /
    ) -> NDArray[np.bool_]:
        """Masks of a batch of equal tiles.

        Parameters
        ----------
        scores : ndarray, shape (T, r, c), float32, float64, int64 or uint64
            C-contiguous, finite; owned by the solver, which may overwrite it.
        n : int
        full : bool
            True: r = c = m, every row and column keeps exactly n. False: a partial tile, at most
            n; entries of negative score are not kept.
        method : Method
            The options.
        """
        ...


class WindowSolver(Protocol):
    """What a solver's module may provide under the name ``solve_window``, to read in place."""

    def __call__(
        self, batch: Any, window: Any, mask: NDArray[np.bool_], n: int, method: Any, /
    ) -> None:
        """Write the masks of a window's tiles.

        Parameters
        ----------
        batch : nmflow.problem.batch.MatrixBatch
        window : nmflow.problem.tiling.Window
        mask : ndarray of bool, shape (B, R, C), C-contiguous
            The whole batch's; only the window's box is written.
        n : int
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
    # Windows of so many entries are handed to the solver at a time: enough to spread Python's
    # share of the work, few enough to stay in a cache where the tiles are copied.
    window_entries: ClassVar[int] = 1 << 16

    def tile_solver(self) -> TileSolver:
        """The function that solves tiles; imports its module."""
        solver: TileSolver = importlib.import_module(self.module).solve_tiles
        return solver

    def window_solver(self) -> WindowSolver:
        """The function that solves windows: the module's own, or by way of a batch of tiles."""
        own = getattr(importlib.import_module(self.module), "solve_window", None)
        if own is not None:
            return cast(WindowSolver, own)
        solve_tiles = self.tile_solver()

        def solve_window(
            batch: Any, window: Any, mask: NDArray[np.bool_], n: int, method: Any, /
        ) -> None:
            tiles = window.cut(batch.scores(window.box))
            window.paste(mask, solve_tiles(tiles, n, window.full, method))

        return solve_window


@dataclass(frozen=True, slots=True)
class Flow(Method):
    """Exact min-cost flow: midpoint dual ascent, then shortest augmenting paths.

    The default method. Its mask is a property of the tile (see :mod:`nmflow.problem.ties`).
    """

    name: ClassVar[str] = "flow"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal; ties by a fixed rule, so the mask is unique"
    complexity: ClassVar[str] = "O(k m^2) for k units left by the dual ascent, k <= n m"
    source: ClassVar[str] = (
        "min-cost flow model: Hubara et al., NeurIPS 2021; augmentation: "
        "Ahuja, Magnanti & Orlin, Network Flows (1993), sec. 9.7"
    )
    module: ClassVar[str] = "nmflow.methods.flow.method"
    window_entries: ClassVar[int] = 1 << 20


@dataclass(frozen=True, slots=True)
class NetworkSimplex(Method):
    """Exact primal network simplex with strongly feasible trees and block pricing.

    :func:`nmflow.methods.network_simplex.method.solve_with_potentials` also returns the potentials.
    """

    name: ClassVar[str] = "network-simplex"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal; ends on any scores, by exact arithmetic"
    complexity: ClassVar[str] = "O(m) to O(m^2) a pivot, pivots not bounded by a polynomial"
    source: ClassVar[str] = (
        "Cunningham, Math. Programming 11 (1976); Barr, Glover & Klingman, Math. Programming 13 "
        "(1977); Ahuja, Magnanti & Orlin, Network Flows (1993), ch. 11"
    )
    module: ClassVar[str] = "nmflow.methods.network_simplex.method"


@dataclass(frozen=True, slots=True)
class Lp(Method):
    """The linear programming relaxation, through PuLP; for verification.

    Parameters
    ----------
    solver : pulp.LpSolver, optional
        Any solver object of PuLP's; by default CBC, which PuLP brings along.
    time_limit : float, optional
        Seconds that CBC may take for one model; exceeding them raises.
    """

    solver: Any = None
    time_limit: float | None = None

    name: ClassVar[str] = "lp"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal: checked in integers, never rounded; ties as flow"
    complexity: ClassVar[str] = "that of the LP solver on m^2 variables a tile"
    source: ClassVar[str] = (
        "Hubara et al., NeurIPS 2021; refinement: Gleixner, Steffy & Wolter, "
        "INFORMS J. Computing 28 (2016)"
    )
    extra: ClassVar[str | None] = "lp"
    module: ClassVar[str] = "nmflow.methods.lp"

    def __post_init__(self) -> None:
        if self.time_limit is not None and not self.time_limit > 0:
            raise NmflowError(f"time_limit must be None or seconds > 0, got {self.time_limit!r}")
        if self.solver is not None and self.time_limit is not None:
            raise NmflowError(
                "time_limit is for the default solver: set the limit on the solver object instead"
            )


@dataclass(frozen=True, slots=True)
class Exhaustive(Method):
    """All masks of a tile, where there are fewer than 10,000; follows the tie rule of ``flow``."""

    name: ClassVar[str] = "exhaustive"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal; ties as flow; only tiles with < 10,000 masks"
    complexity: ClassVar[str] = "O(masks m^2): 90 masks at 2:4"
    source: ClassVar[str] = "enumeration; mask counts: Hubara et al., NeurIPS 2021, mask diversity"
    module: ClassVar[str] = "nmflow.methods.exhaustive"


@dataclass(frozen=True, slots=True)
class Greedy(Method):
    """The paper's 2-approximation: prune light to heavy while a row or column owes an entry."""

    name: ClassVar[str] = "greedy"
    exact: ClassVar[bool] = False
    guarantee: ClassVar[str] = "pruned score <= 2 x optimum for scores >= 0; over-prunes"
    complexity: ClassVar[str] = "O(m^2 log^2 m)"
    source: ClassVar[str] = "Hubara et al., NeurIPS 2021, the 2-approximation algorithm"
    module: ClassVar[str] = "nmflow.methods.heuristics.greedy"


@dataclass(frozen=True, slots=True)
class GreedyKeep(Method):
    """Keep heavy to light while row and column have room, as the paper's published code does."""

    name: ClassVar[str] = "greedy-keep"
    exact: ClassVar[bool] = False
    guarantee: ClassVar[str] = "kept score >= 1/2 x optimum for scores >= 0; under-fills"
    complexity: ClassVar[str] = "O(m^2 log^2 m)"
    source: ClassVar[str] = "Hubara et al., NeurIPS 2021, published code"
    module: ClassVar[str] = "nmflow.methods.heuristics.greedy_keep"


@dataclass(frozen=True, slots=True)
class LocalSearch(Method):
    """Greedy-keep, filled by insert-swaps, improved by exchanges.

    Parameters
    ----------
    sweeps : int, optional
        How often to go over all pairs of rows for improving exchanges, at most; None goes on to a
        local optimum, 0 only fills.
    """

    sweeps: int | None = None

    name: ClassVar[str] = "local-search"
    exact: ClassVar[bool] = False
    guarantee: ClassVar[str] = "full; no insert-swap or two-by-two exchange improves it"
    complexity: ClassVar[str] = "O(m^3) a sweep"
    source: ClassVar[str] = "insert-swap: Meng, Makni & Mazumder (TSENOR), NeurIPS 2025"
    module: ClassVar[str] = "nmflow.methods.heuristics.local_search"

    def __post_init__(self) -> None:
        _check_count("sweeps", self.sweeps, 0, optional=True)


@dataclass(frozen=True, slots=True)
class Entropic(Method):
    """TSENOR: entropic optimal transport by Dykstra's projections, rounding, local search.

    Parameters
    ----------
    tau : float
        Inverse temperature, in (0, 80]: higher is nearer to the optimum and slower to settle.
    iterations : int
        Rounds of the three projections, >= 1; always so many, whatever the tiles.
    sweeps : int, optional
        Sweeps of improving exchanges after filling, at most; 0 only fills, as published; None goes
        on to a local optimum, for a third of the loss or less.
    """

    tau: float = 80.0
    iterations: int = 200
    sweeps: int | None = 0

    name: ClassVar[str] = "entropic"
    exact: ClassVar[bool] = False
    guarantee: ClassVar[str] = "full; no bound on the loss"
    complexity: ClassVar[str] = "O(iterations m^2)"
    source: ClassVar[str] = "Meng, Makni & Mazumder (TSENOR), NeurIPS 2025, arXiv 2505.23949"
    module: ClassVar[str] = "nmflow.methods.heuristics.entropic"

    def __post_init__(self) -> None:
        if isinstance(self.tau, bool) or not isinstance(self.tau, int | float):
            raise NmflowError(f"tau must be a number in (0, {MAX_TAU:g}], got {self.tau!r}")
        if not 0 < self.tau <= MAX_TAU:
            raise NmflowError(f"tau must lie in (0, {MAX_TAU:g}], got {self.tau!r}")
        _check_count("iterations", self.iterations, 1)
        _check_count("sweeps", self.sweeps, 0, optional=True)


def _check_count(label: str, value: object, least: int, *, optional: bool = False) -> None:
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        none = "None or " if optional else ""
        raise NmflowError(f"{label} must be {none}an integer >= {least}, got {value!r}")


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Flow(),
        NetworkSimplex(),
        Lp(),
        Exhaustive(),
        Greedy(),
        GreedyKeep(),
        LocalSearch(),
        Entropic(),
    )
}


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
