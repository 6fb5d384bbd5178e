"""What every method is: an object with options, and a module that solves.

Read this before :mod:`nmflow.solvers.registry`, which lists the methods.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

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


class ConstrainedSolver(Protocol):
    """What a solver's module may provide under the name ``solve_constrained_window``."""

    def __call__(
        self, batch: Any, window: Any, mask: NDArray[np.bool_], constraints: Any, /
    ) -> None:
        """Write the masks of a window's tiles.

        Parameters
        ----------
        batch : nmflow.problem.batch.MatrixBatch
            Its pattern says what rows and columns hold.
        window : nmflow.problem.tiling.Window
        mask : ndarray of bool, shape (B, R, C), C-contiguous
            The whole batch's; only the window's box is written.
        constraints : nmflow.problem.constraints.Constraints, optional
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
    # Where its function for windows under constraints is, if it takes any.
    constrained_module: ClassVar[str | None] = None
    # Windows of so many entries are handed to the solver at a time: enough to spread Python's
    # share of the work, few enough to stay in a cache where the tiles are copied.
    window_entries: ClassVar[int] = 1 << 16

    def tile_solver(self) -> TileSolver:
        """The function that solves tiles; imports its module."""
        solver: TileSolver = importlib.import_module(self.module).solve_tiles
        return solver

    def constrained_solver(self) -> ConstrainedSolver:
        """The function that solves windows under constraints, and tiles that are not square.

        Raises
        ------
        NmflowError
            If the method takes none.
        """
        if self.constrained_module is None:
            raise NmflowError(
                f"method {self.name!r} knows neither within, keep nor columns=(n, m): leave the"
                " method out, for 'flow'"
            )
        solver: ConstrainedSolver = importlib.import_module(
            self.constrained_module
        ).solve_constrained_window
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
