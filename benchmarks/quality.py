"""How good masks are, tile by tile, beside the optimum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A relative loss below it may be rounding alone: such tiles are summed exactly.
_DOUBTFUL = 1e-11


def quality(
    scores: NDArray[np.float64], masks: NDArray[np.bool_], optima: NDArray[np.bool_], n: int
) -> dict[str, float]:
    """Losses of kept score against the optimum, and shares of tiles.

    Parameters
    ----------
    scores : ndarray, shape (T, m, m)
    masks, optima : ndarray of bool, shape (T, m, m)
    n : int

    Returns
    -------
    dict
        ``mean_loss``, ``worst_loss`` (shares of the optimal score), ``optimal`` and ``not_full``
        (shares of tiles; not full: a row or a column does not hold n).
    """
    change = optima.astype(np.int8) - masks
    lost = (scores * change).sum(axis=(1, 2))
    best = (scores * optima).sum(axis=(1, 2))
    # Equal masks lose nothing; few others are so close that rounding could decide.
    for k in np.flatnonzero((np.abs(lost) <= _DOUBTFUL * best) & change.any(axis=(1, 2))):
        lost[k] = math.fsum((scores[k] * change[k]).ravel())
    full = (masks.sum(axis=1) == n).all(axis=1) & (masks.sum(axis=2) == n).all(axis=1)
    if (full & (lost < 0)).any():
        raise RuntimeError("a mask is better than the optimum")
    loss = np.divide(lost, best, out=np.zeros(len(best)), where=best > 0)
    return {
        "mean_loss": float(loss.mean()),
        "worst_loss": float(loss.max()),
        "optimal": float((full & (lost == 0)).mean()),
        "not_full": float(1 - full.mean()),
    }


def scores_of(tiles: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute values in float64, which holds every dtype's benchmarked here."""
    return np.abs(tiles.astype(np.float64))
