"""Masks of scores that constraints are part of, as penalties."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.batch import MatrixBatch
from nmflow.problem.pattern import Pair, Pattern
from nmflow.problem.tiling import Window
from nmflow.solvers.flow.allowed import AllowedScores
from nmflow.solvers.flow.at_most import solve_window_at_most
from nmflow.solvers.flow.method import solve_capacitated, solve_window


def masks_of(scores: NDArray[Any], m: int, tile: Pair, n: Pair, full: bool) -> NDArray[np.bool_]:
    """Masks of matrices (B, R, C) in tiles of one shape, without constraints.

    Rows and columns hold n, or at most n where tiles are not to be ``full``.
    """
    masks = np.empty(scores.shape, np.bool_)
    window = Window.whole(scores.shape, tile, full)
    if not tile[0] == tile[1] == m or n[0] != n[1]:
        window.paste(masks, solve_capacitated(window.cut(scores), n, full))
    elif full:
        batch = MatrixBatch.of(scores, Pattern(n[0], m), (1, 2), "raw")
        solve_window(batch, window, masks, n[0], None)
    else:
        everywhere = AllowedScores(scores, np.ones(scores.shape, np.bool_), False)
        solve_window_at_most(everywhere, window, masks, n[0])
    return masks
