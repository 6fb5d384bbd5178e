"""A mask together with the prices that prove it."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nmflow.problem.arrays import for_kernels
from nmflow.problem.batch import MatrixBatch
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern
from nmflow.problem.prices import Prices
from nmflow.problem.scores import ScoreName
from nmflow.problem.tiling import Window, shared_windows
from nmflow.problem.workers import run_all, thread_count
from nmflow.solvers.flow.tracked_batch import TrackedBatch

Mask = TypeVar("Mask")


class Solution(NamedTuple, Generic[Mask]):
    """A mask and its proof: a solution of the linear programme, and one of its dual.

    Attributes
    ----------
    mask : bool array
        As :func:`nmflow.solve` returns it.
    prices : Prices
        In host memory. float32 where the scores are, unless some mask takes prices of more digits;
        else float64. NaN for the few tiles whose proof takes wider numbers than that.
    """

    mask: Mask
    prices: Prices


@standard_arithmetic
def solve_with_prices(
    weights: Any,
    n: int,
    m: int,
    *,
    axes: tuple[int, int] = (-2, -1),
    score: ScoreName = "abs",
    workers: int | None = None,
) -> Solution[Any]:
    """The mask of :func:`nmflow.solve`, and prices with which anyone can check that it is optimal.

    Parameters
    ----------
    weights, n, m, axes, score, workers
        As for :func:`nmflow.solve`, by the method ``"flow"`` and for transposable masks.

    Returns
    -------
    Solution
        Named tuple ``mask, prices``.

    Raises
    ------
    NmflowError
        As :func:`nmflow.solve`.

    Notes
    -----
    Prices are an optimal solution of the dual of the assignment of n of m (see
    :func:`nmflow.certify`): every kept score is at least the price of its row plus that of its
    column, every pruned one at most, which takes a comparison for each weight to check. ``flow``
    finds them on its way where m is 8, 16 or 32; where it doesn't, such as at 2:4, where it looks
    at all masks, they are found from the mask by Bellman and Ford's labels.

    Examples
    --------
    >>> import numpy as np, nmflow
    >>> weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    >>> mask, prices = nmflow.solve_with_prices(weights, 4, 8)
    >>> nmflow.certify(weights, mask, 4, 8, prices=prices).optimal
    True
    >>> bound = np.repeat(prices.rows[0], 8, axis=1) + np.repeat(prices.columns[0], 8, axis=0)
    >>> bool((abs(weights)[mask] >= bound[mask]).all() and (abs(weights) <= bound)[~mask].all())
    True
    """
    pattern, threads = Pattern(n, m, "transposable"), thread_count(workers)
    batch = MatrixBatch.of(weights, pattern, axes, score)
    tracked = _solved(batch, threads)
    prices = _complete(tracked.prices(), batch, tracked.mask, pattern, threads)
    return Solution(batch.restore(tracked.mask), prices)


@standard_arithmetic
def solve_for_certificate(
    weights: Any,
    pattern: Pattern,
    *,
    axes: tuple[int, int],
    score: ScoreName,
    workers: int | None = None,
) -> tuple[Any, Prices | None]:
    """As :func:`solve_with_prices`, with the prices that the engine left, for ``certify``.

    They are NaN where it left none, which costs :func:`nmflow.certify` what it costs to find them;
    None if there are none at all. Parameters as there.
    """
    batch = MatrixBatch.of(weights, pattern, axes, score)
    tracked = _solved(batch, thread_count(workers))
    prices = tracked.prices()
    return batch.restore(tracked.mask), prices if prices.known else None


def _solved(batch: MatrixBatch, threads: int) -> TrackedBatch:
    tracked = TrackedBatch(batch.pattern, batch.shape)
    if batch.matrices.size:
        tracked.update(batch, threads)
    return tracked


def _complete(
    prices: Prices, batch: MatrixBatch, mask: NDArray[np.bool_], pattern: Pattern, threads: int
) -> Prices:
    """Prices of all tiles: those that the engine found, if they prove its mask, else others.

    float32 where the scores are, unless some mask takes prices of more digits.
    """
    # It needs numba, which takes longer to import than all of nmflow.
    from nmflow.proof.prove import prove_as_it_stands

    def complete(found: Prices) -> bool:
        """Whether there are prices of that type for all tiles."""
        done = []

        def work(window: Window) -> None:
            values, unsigned = batch.values(window.box)
            part, rule = (
                found.of(window, pattern.tile),
                (window.tile, pattern.capacities, window.full),
            )
            if values.dtype.kind != "f":
                part.rows[:], part.columns[:] = np.nan, np.nan
                return
            kept = for_kernels(mask[window.box])
            done.append(prove_as_it_stands(for_kernels(values), unsigned, kept, part, *rule))

        run_all(work, shared_windows(batch.shape, pattern.tile, threads), threads)
        return all(done)

    if not (batch.has_narrow_scores and complete(prices)):
        prices = Prices(*(part.astype(np.float64) for part in prices))
        complete(prices)
    return prices
