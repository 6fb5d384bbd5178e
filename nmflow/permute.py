"""Orders of a matrix's rows and columns under which its mask keeps more."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nmflow.certify import certify
from nmflow.errors import NmflowError
from nmflow.permuting.shared import SharedOrder, Side
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern, PatternName, as_integer
from nmflow.problem.scores import ScoreName
from nmflow.problem.workers import thread_count
from nmflow.solve import solve

Sides = Literal["both", "rows", "columns"]


@dataclass(frozen=True, slots=True, eq=False)
class Permutation:
    """Orders of rows and columns, and what they buy.

    Attributes
    ----------
    rows, columns : ndarray of int64
        Which row and which column of the weights comes first, second and so on.
    kept_before, kept_after : float
        Sums of the scores that the best masks keep, in the old order and in the new one.
    kept_unstructured : float
        What the largest round(n/m * size) of each matrix sum to: a bound for all orders where m
        divides the shape. (Partial tiles may keep more than that.)
    axes : (int, int)
        Of rows and columns.
    rounds : int
        How many there were.
    seconds : float
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    kept_before: float
    kept_after: float
    kept_unstructured: float
    axes: tuple[int, int]
    rounds: int
    seconds: float

    @property
    def gap_closed(self) -> float:
        """The share of what the pattern costs against unstructured masks that is won back."""
        gap = self.kept_unstructured - self.kept_before
        return (self.kept_after - self.kept_before) / gap if gap > 0 else 0.0

    def apply(self, weights: Any) -> Any:
        """An array of the weights' shape in the new order, such as the weights.

        Parameters
        ----------
        weights : array
            Of any framework whose arrays are indexed by arrays of integers.
        """
        return _taken(weights, self.axes, self.rows, self.columns)

    def undo(self, permuted: Any) -> Any:
        """An array in the new order, such as a mask, in the old one: the inverse of ``apply``."""
        return _taken(permuted, self.axes, np.argsort(self.rows), np.argsort(self.columns))


@standard_arithmetic
def permute(
    weights: Any,
    n: int,
    m: int,
    *,
    sides: Sides = "both",
    pattern: PatternName = "transposable",
    axes: tuple[int, int] = (-2, -1),
    score: ScoreName = "abs",
    rounds: int = 4,
    seed: int = 0,
    workers: int | None = None,
) -> Permutation:
    """Orders of rows and columns under which the n:m mask keeps a larger score.

    Parameters
    ----------
    weights : array_like, at least two dimensions
        As for :func:`nmflow.solve`. Matrices of a batch share their orders.
    n, m : int
        Keep n of every m.
    sides : {"both", "rows", "columns"}
        What may be put in another order.
    pattern, axes, score
        As for :func:`nmflow.solve`. Under ``pattern="rows"`` the order of columns alone matters,
        under ``"columns"`` that of rows.
    rounds : int, default 4
        At most; each takes all columns and all rows once. Fewer where a round gains nothing to
        speak of.
    seed : int, default 0
        Of the choices that the search makes at random; the same seed finds the same orders.
    workers : int, optional
        Threads; by default as many as there are cores. The orders do not depend on it.

    Returns
    -------
    Permutation
        Never one that keeps less than the order that there was.

    Raises
    ------
    NmflowError
        As :func:`nmflow.solve`; for ``pattern="unstructured"``, to which all orders are alike.

    Notes
    -----
    Finding the best order is NP-hard. The search goes from one order to a better one: groups of m
    give up a column each, and an assignment gives it to the group where it is worth most, by exact
    solves. One round of both sides of a 4096 x 4096 matrix at 4:8 is 134 million solves of a tile.

    References
    ----------
    Pool & Yu, "Channel permutations for N:M sparsity", NeurIPS 2021, for orders of columns under
    one-way masks.

    Examples
    --------
    >>> import numpy as np, nmflow
    >>> weights = np.random.default_rng(0).standard_normal((32, 32))
    >>> order = nmflow.permute(weights, 2, 4)
    >>> mask = nmflow.solve(order.apply(weights), 2, 4)
    >>> kept = np.abs(weights)[order.undo(mask)].sum()
    >>> bool(kept > np.abs(weights)[nmflow.solve(weights, 2, 4)].sum())
    True
    """
    # numba is not for those who import nmflow alone.
    from nmflow.permuting.search import Search

    began = time.perf_counter()
    wanted = Pattern(n, m, pattern)
    _check(sides, pattern, rounds, seed)
    batch = MatrixBatch.of(weights, wanted, axes, score)
    scores = np.ascontiguousarray(batch.scores(()))
    if scores.dtype.kind != "f":
        scores = scores.astype(np.float64)
    _, rows, columns = scores.shape
    orders = [
        SharedOrder(size, tuple(Side(index, axis) for index in range(len(scores))))
        for axis, size in ((1, columns), (0, rows))
        if sides in ("both", ("rows", "columns")[axis])
    ]
    search = Search(list(scores), orders, wanted, seed, thread_count(workers))
    search.run(rounds)
    found = {order.sides[0].axis: each for order, each in zip(orders, search.found, strict=True)}
    identity = np.arange(rows), np.arange(columns)
    new = found.get(0, identity[0]), found.get(1, identity[1])
    before, after = _kept(scores, wanted), _kept(scores[:, new[0]][..., new[1]], wanted)
    if after < before:
        new, after = identity, before
    best = _kept(scores, Pattern(n, m, "unstructured"))
    return Permutation(
        *new, before, after, best, batch.axes, search.rounds, time.perf_counter() - began
    )


def _check(sides: str, pattern: str, rounds: int, seed: int) -> None:
    if sides not in get_args(Sides):
        raise NmflowError(f"sides must be one of {', '.join(get_args(Sides))}, got {sides!r}")
    if pattern == "unstructured":
        raise NmflowError("pattern 'unstructured' keeps the same in every order: name another one")
    if as_integer("rounds", rounds) < 1 or as_integer("seed", seed) < 0:
        raise NmflowError(f"rounds must be at least 1 and seed at least 0, got {rounds} and {seed}")


def _kept(scores: NDArray[Any], pattern: Pattern) -> float:
    """The exact sum that the best masks of all matrices keep."""
    n, m, name = pattern.n, pattern.m, pattern.name
    mask = solve(scores, n, m, pattern=name, score="raw")
    return float(certify(scores, mask, n, m, pattern=name, score="raw").value)


def _taken(
    array: Any, axes: tuple[int, int], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Any:
    for axis, order in zip(axes, (rows, columns), strict=True):
        if array.shape[axis] != len(order):
            raise NmflowError(
                f"an array of shape {tuple(array.shape)} has not {len(order)} entries along axis"
                f" {axis}, as the weights had that were permuted"
            )
        array = array[(slice(None),) * axis + (order,)]
    return array
