"""The best mask of a pattern, for scores of the matrices of a weight."""

from __future__ import annotations

from typing import Any

import torch

from nmflow.certify import certify
from nmflow.problem.pattern import Pattern
from nmflow.proof.certificate import Certificate
from nmflow.solve import solve
from nmflow.solvers.interface import Method
from nmflow.torch.conversion.matrices import Matrices
from nmflow.tracker import Tracker


class Projection:
    """The n:m mask that keeps most of some scores, exactly where the method is exact.

    Parameters
    ----------
    matrices : Matrices
    pattern : Pattern
    solver : Method
        Of :func:`nmflow.solve`.
    allowed : bool Tensor (groups, outputs, features), optional
        Entries outside have a score of 0, and are kept only where a pattern must be filled.
    """

    def __init__(
        self, matrices: Matrices, pattern: Pattern, solver: Method, allowed: Any = None
    ) -> None:
        self.matrices = matrices
        self.pattern = pattern
        self.solver = solver
        self.allowed = allowed
        self._tracker: Tracker | None = None

    def __call__(self, scores: Any) -> Any:
        """The mask of scores (groups, outputs, features), all >= 0; bool, of the same shape."""
        return self.matrices.untile(self._solve(self._tiles(scores)))

    def follow(self, scores: Any) -> Any:
        """As a call, for scores that have changed little since the last: the same mask, sooner."""
        pattern, tiles = self.pattern, self._tiles(scores)
        tracked = pattern.name == "transposable" and self.solver.name == "flow" and pattern.m > 4
        if not tracked:
            return self.matrices.untile(self._solve(tiles))
        if self._tracker is None:
            self._tracker = Tracker(tuple(tiles.shape), pattern.n, pattern.m, score="raw")
        mask, _ = self._tracker.update(tiles)
        return self.matrices.untile(mask)

    def of_columns(self, scores: Any, columns: slice) -> Any:
        """The mask of some neighbouring columns of one position, (groups, outputs, columns)."""
        return self._solve(self._allow(scores)[:, :, columns].to(torch.float32).contiguous())

    def certify(self, scores: Any, mask: Any) -> Certificate:
        """The certificate of a mask for scores, both (groups, outputs, features)."""
        pattern = self.pattern
        return certify(
            self._tiles(scores),
            self.matrices.tiles(mask).contiguous(),
            pattern.n,
            pattern.m,
            pattern=pattern.name,
            score="raw",
        )

    def _tiles(self, scores: Any) -> Any:
        return self.matrices.tiles(self._allow(scores).to(torch.float32)).contiguous()

    def _allow(self, scores: Any) -> Any:
        return scores if self.allowed is None else scores * self.allowed

    def _solve(self, tiles: Any) -> Any:
        pattern = self.pattern
        return solve(tiles, pattern.n, pattern.m, self.solver, pattern=pattern.name, score="raw")
