"""A window of a stack of matrices solved by cutting it into tiles, whatever the method."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def solve_by_tiles(
    solve_tiles: Any, stack: Any, window: Any, mask: NDArray[np.bool_], n: int, method: Any
) -> None:
    """Copy the window's tiles, solve them as a batch, and put their masks in place."""
    tiles = window.cut(stack.scores(window.box))
    window.paste(mask, solve_tiles(tiles, n, window.full, method))
