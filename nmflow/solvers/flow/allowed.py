"""Scores of which some may not be kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class AllowedScores(NamedTuple):
    """Values, what of them may be kept, and how they are read.

    Attributes
    ----------
    values : ndarray of float32 or float64, of any shape
    allowed : ndarray of bool, of the same shape
    unsigned : bool
        Whether the scores are the values without their signs.
    """

    values: NDArray[Any]
    allowed: NDArray[np.bool_]
    unsigned: bool

    def of(self, part: Any) -> AllowedScores:
        """A part of them, as arrays are indexed."""
        return AllowedScores(self.values[part], self.allowed[part], self.unsigned)

    def masked(self) -> NDArray[Any]:
        """The scores, and where nothing may be kept the least negative normal number.

        Where tiles hold at most n nothing negative is kept, and that takes no digits from others.
        """
        scores = np.abs(self.values) if self.unsigned else self.values
        return np.where(self.allowed, scores, -np.finfo(scores.dtype).tiny)
