"""Columns pruned from left to right, each error carried to those that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from nmflow.torch.conversion.methods.problem import Fit, LayerProblem

# Columns whose masks are chosen together where the pattern doesn't say how many.
_BLOCK = 128


@dataclass(frozen=True, slots=True)
class SparseGPT:
    """Masks of m columns at a time, by the scores of that moment, and errors carried on.

    With U the upper Cholesky factor of H^-1, a block's mask keeps most of w^2 / U_jj^2; then each
    column's error, (w_j - w'_j) / U_jj, is taken off the columns that follow, by row j of U. For
    transposable masks a block is a column of tiles. Unstructured masks are chosen for 128 columns
    at a time, as published.

    References
    ----------
    Frantar & Alistarh, "SparseGPT: massive language models can be accurately pruned in one-shot",
    ICML 2023.
    """

    name: ClassVar[str] = "sparsegpt"
    source: ClassVar[str] = "Frantar & Alistarh, ICML 2023"
    guarantee: ClassVar[str] = "each block's mask keeps most of its scores at that moment"
    needs_inputs: ClassVar[bool] = False

    def fit(self, problem: LayerProblem) -> Fit:
        """Weights and mask from left to right; scores are those of each block's moment."""
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(problem.second_moments))
        factor = torch.linalg.cholesky(inverse, upper=True)
        weights = problem.weights.clone()
        mask = torch.zeros_like(weights, dtype=torch.bool)
        scores = torch.zeros_like(weights)
        for block in self._blocks(problem):
            diagonal = factor[:, block, block].diagonal(dim1=-2, dim2=-1)
            scores[:, :, block] = (weights[:, :, block] / diagonal[:, None, :]).square()
            mask[:, :, block] = problem.project.of_columns(scores, block)
            self._prune(weights, problem.usable(mask), factor, block)
        # Chosen for some columns at a time, an unstructured mask is not the best of all scores.
        whole = problem.project.pattern.name != "unstructured"
        return Fit(weights, mask, scores if whole else None)

    @staticmethod
    def _blocks(problem: LayerProblem) -> list[slice]:
        """Columns whose mask is chosen together: they never cross a position."""
        pattern, inputs = problem.project.pattern, problem.project.matrices.inputs
        width = _BLOCK if pattern.name == "unstructured" else pattern.m
        features = problem.weights.shape[2]
        return [
            slice(start + first, start + min(first + width, inputs))
            for start in range(0, features, inputs)
            for first in range(0, inputs, width)
        ]

    @staticmethod
    def _prune(weights: Any, mask: Any, factor: Any, block: slice) -> None:
        """Prune a block's columns, and let those behind make up for them."""
        errors = torch.zeros_like(weights[:, :, block])
        for j in range(block.start, block.stop):
            column = weights[:, :, j]
            kept = mask[:, :, j]
            error = column * ~kept / factor[:, j, j, None]
            rest = slice(j, block.stop)
            weights[:, :, rest] -= error[:, :, None] * factor[:, None, j, rest]
            column *= kept
            errors[:, :, j - block.start] = error
        weights[:, :, block.stop :] -= errors @ factor[:, block, block.stop :]
