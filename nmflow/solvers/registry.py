"""The one list of methods: what each is called, what it promises, where its code is.

A method is a frozen object that carries its options; its plain name stands for the object with
default options. The module that solves is imported when a method first solves, so that listing
methods loads nothing.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

from nmflow.errors import NmflowError
from nmflow.solvers.interface import Method

# Beyond it exp(tau) overflows float32.
MAX_TAU = 80.0


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
    module: ClassVar[str] = "nmflow.solvers.flow.method"
    constrained_module: ClassVar[str | None] = "nmflow.solvers.flow.constrained.window"
    window_entries: ClassVar[int] = 1 << 20


@dataclass(frozen=True, slots=True)
class NetworkSimplex(Method):
    """Exact primal network simplex with strongly feasible trees and block pricing.

    :func:`nmflow.solvers.network_simplex.method.solve_with_potentials` also returns the potentials.
    """

    name: ClassVar[str] = "network-simplex"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal; ends on any scores, by exact arithmetic"
    complexity: ClassVar[str] = "O(m) to O(m^2) a pivot, pivots not bounded by a polynomial"
    source: ClassVar[str] = (
        "Cunningham, Math. Programming 11 (1976); Barr, Glover & Klingman, Math. Programming 13 "
        "(1977); Ahuja, Magnanti & Orlin, Network Flows (1993), ch. 11"
    )
    module: ClassVar[str] = "nmflow.solvers.network_simplex.method"


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
    module: ClassVar[str] = "nmflow.solvers.lp"

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
    module: ClassVar[str] = "nmflow.solvers.exhaustive"


@dataclass(frozen=True, slots=True)
class Greedy(Method):
    """The paper's 2-approximation: prune light to heavy while a row or column owes an entry."""

    name: ClassVar[str] = "greedy"
    exact: ClassVar[bool] = False
    guarantee: ClassVar[str] = "pruned score <= 2 x optimum for scores >= 0; over-prunes"
    complexity: ClassVar[str] = "O(m^2 log^2 m)"
    source: ClassVar[str] = "Hubara et al., NeurIPS 2021, the 2-approximation algorithm"
    module: ClassVar[str] = "nmflow.solvers.heuristics.greedy"


@dataclass(frozen=True, slots=True)
class GreedyKeep(Method):
    """Keep heavy to light while row and column have room, as the paper's published code does."""

    name: ClassVar[str] = "greedy-keep"
    exact: ClassVar[bool] = False
    guarantee: ClassVar[str] = "kept score >= 1/2 x optimum for scores >= 0; under-fills"
    complexity: ClassVar[str] = "O(m^2 log^2 m)"
    source: ClassVar[str] = "Hubara et al., NeurIPS 2021, published code"
    module: ClassVar[str] = "nmflow.solvers.heuristics.greedy_keep"


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
    module: ClassVar[str] = "nmflow.solvers.heuristics.local_search"

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
    module: ClassVar[str] = "nmflow.solvers.heuristics.entropic"

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
    given: object = method
    if isinstance(given, type) and issubclass(given, Method):
        raise NmflowError(f"method is the class {given.__name__}: pass {given.__name__}()")
    if method in METHODS:
        return METHODS[method]
    near = difflib.get_close_matches(str(method), METHODS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise NmflowError(
        f"unknown method {method!r}{hint} (known: {', '.join(map(repr, METHODS))};"
        " see nmflow.methods())"
    )
