"""The check of any mask: counted, summed exactly, and held against a proved optimum.

No more than the reading of the weights is shared with the solvers: feasibility is counted, the
optimum proved by :mod:`nmflow.proof.checker`, and the sums are exact.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import for_kernels
from nmflow.problem.batch import MatrixBatch, as_bool_matrices
from nmflow.problem.constraints import Constraints
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pair, Pattern, PatternName
from nmflow.problem.prices import Prices
from nmflow.problem.scores import ScoreName
from nmflow.problem.tiling import Window, shared_windows
from nmflow.problem.workers import run_or_raise_first, thread_count
from nmflow.proof.certificate import Certificate, Tally, Violation
from nmflow.proof.constrained_groups import certify_groups_within
from nmflow.proof.groups import certify_groups
from nmflow.sharded.whole import pieces_of, tally_of_pieces
from nmflow.units.batch import batch_in_units
from nmflow.units.constraints import constraints_in_units
from nmflow.units.unit import ENTRY, as_unit
from nmflow.units.whole import whole_units


@standard_arithmetic
def certify(
    weights: Any,
    mask: Any,
    n: int,
    m: int,
    *,
    pattern: PatternName = "transposable",
    axes: tuple[int, int] = (-2, -1),
    score: ScoreName = "abs",
    columns: Pair | None = None,
    within: Any = None,
    keep: Any = None,
    at_most: bool = False,
    workers: int | None = None,
    prices: Prices | None = None,
    unit: tuple[int, int] = (1, 1),
) -> Certificate:
    """Check any mask, from anywhere, and prove how good it is.

    Shares no more with the solvers than how weights are read and kernels compiled. Prices that
    prove a mask are found by Bellman and Ford's labels on the residual network, and an optimum,
    with prices that prove it, where the mask is none.

    Parameters
    ----------
    weights, n, m, pattern, axes, score, columns, within, keep, at_most, workers, unit
        As for :func:`nmflow.solve`.
    mask : array_like of bool (or of 0 and 1), of the shape of ``weights``
        From any framework, not necessarily the one of the weights.
    prices : Prices, optional
        Such as :func:`nmflow.solve_with_prices` and :attr:`nmflow.Tracker.prices` hand out; only
        for ``"transposable"``. Tiles that they prove need no search. Where they are wrong, or NaN,
        they are as good as none: the certificate does not depend on them, its time does.

    Returns
    -------
    Certificate

    Raises
    ------
    NmflowError
        As :func:`nmflow.solve`; for a mask of another shape, or of values other than 0 and 1; and
        for prices of another shape, for another pattern, or under ``within`` or ``keep``; and for
        constraints that no mask obeys.

    Notes
    -----
    The bound is the optimum of the linear programme, by its dual: for a full tile
    ``min n sum(u) + n sum(v) + sum(max(0, s_ij - u_i - v_j))``, for a partial one with
    u, v >= 0. Complementary slackness of a mask and of prices u, v, which proves both optimal, is
    checked without a rounding error, whatever prices were found.

    On a full tile the bound is over masks that hold exactly n. A mask that holds fewer somewhere
    is outside that set and may exceed it: of the 3 x 3 scores (100, 0, 0), (0, 100, 100),
    (0, 100, 100) the positive five are worth 500, and 2:3 exactly is worth 400 at most. So compare
    gaps of masks that are ``full``.

    With ``unit`` all that is said of entries is said of units, whose scores are sums: value and
    bound add those up, exactly, as they are once rounded. A unit that is kept in part is a
    violation, and counts as dropped.

    Dask arrays are certified chunk by chunk, now, and DTensors shard by shard, by all processes of
    their mesh together; sums of the pieces are added as integers, so that the certificate is that
    of the whole array. Of violations the first by their place are listed. ``mask`` may be whole.

    Time: one pass over the weights where ``prices`` prove the mask, about that of ``flow``; a few
    times as much where they have to be found, and more where an optimum has to be.
    """
    wanted = Pattern(n, m, pattern, columns, at_most)
    options: dict[str, Any] = {"axes": axes, "score": score, "workers": workers, "unit": unit}
    if (pieces := pieces_of(weights)) is not None:
        thread_count(workers)
        if prices is not None:
            raise NmflowError("prices of weights in pieces can't be cut up: leave them out")
        each = partial(tally_of, pattern=wanted, **options)
        return tally_of_pieces(pieces, each, wanted, mask, within, keep).certificate()
    return tally_of(
        weights, mask, wanted, within=within, keep=keep, prices=prices, **options
    ).certificate()


@standard_arithmetic
def tally_of(
    weights: Any,
    mask: Any,
    pattern: Pattern,
    *,
    axes: tuple[int, int],
    score: ScoreName,
    within: Any = None,
    keep: Any = None,
    workers: int | None = None,
    prices: Prices | None = None,
    unit: tuple[int, int] = (1, 1),
) -> Tally:
    """What :func:`certify` makes its certificate of.

    Tallies of parts of an array that no tile crosses add up to that of the whole, exactly. All
    parameters as there.
    """
    threads = thread_count(workers)
    batch = MatrixBatch.of(weights, pattern, axes, score)
    given = as_bool_matrices(mask, batch, "mask")
    constraints = Constraints.of(within, keep, batch)
    block, split = as_unit(unit), list[Violation]()
    if block != ENTRY:
        given, split = whole_units(given, block, pattern)
        constraints = constraints_in_units(constraints, batch, block)
        batch = batch_in_units(batch, block, threads)
    if prices is not None:
        prices = _check_prices(prices, batch, pattern, constraints)
        # Such as a tracker's of tiles that it solves anew each time: to look at them finds nothing.
        prices = prices if prices.known else None
    tally = Tally(pattern, over=split)
    if pattern.name == "transposable":
        _certify_tiles(tally, batch, given, prices, constraints, threads)
    elif constraints is not None:
        for index in range(batch.shape[0]):
            certify_groups_within(tally, index, batch, given[index], constraints)
    else:
        for index in range(batch.shape[0] if batch.matrices.size else 0):
            scores = batch.scores((slice(index, index + 1),))[0]
            certify_groups(tally, index, scores, given[index])
    return tally


def _check_prices(
    prices: Prices, batch: MatrixBatch, pattern: Pattern, constraints: Constraints | None
) -> Prices:
    if constraints is not None:
        raise NmflowError("prices under within or keep: none are known there; leave them out")
    if pattern.name != "transposable":
        raise NmflowError(f"prices for {pattern}: only transposable masks have prices; leave them")
    rows, columns = (np.asarray(part) for part in prices)
    expected = Prices.shapes(batch.shape, pattern.tile)
    for part, shape, what in zip((rows, columns), expected, ("rows", "columns"), strict=True):
        if part.shape != shape or part.dtype.kind != "f":
            raise NmflowError(
                f"prices of {what} of shape {part.shape} and dtype {part.dtype}: weights of shape"
                f" {batch.host.values.shape} for {pattern} have floats of shape {shape}"
            )
    return Prices(rows, columns)


def _certify_tiles(
    tally: Tally,
    batch: MatrixBatch,
    given: NDArray[np.bool_],
    prices: Prices | None,
    constraints: Constraints | None,
    threads: int,
) -> None:
    """Certify all tiles, window by window."""
    pieces: dict[int, Tally] = {}
    tile = tally.pattern.tile

    def work(item: tuple[int, Window]) -> None:
        number, window = item
        if not tally.pattern.fills:
            window = dataclasses.replace(window, full=False)
        pieces[number] = Tally(tally.pattern)
        if constraints is not None:
            from nmflow.proof.constrained import certify_within

            certify_within(pieces[number], window, batch, given[window.box], constraints)
            return
        known = None if prices is None else prices.of(window, tile)
        _certify_window(pieces[number], window, batch, given[window.box], known)

    run_or_raise_first(work, enumerate(shared_windows(batch.shape, tile, threads)), threads)
    for number in sorted(pieces):
        tally.add(pieces[number])


def _certify_window(
    tally: Tally,
    window: Window,
    batch: MatrixBatch,
    given: NDArray[np.bool_],
    prices: Prices | None,
) -> None:
    """Certify the tiles of one window."""
    # Importing numba takes longer than importing all of nmflow.
    from nmflow.proof.kept_sum import kept_sum
    from nmflow.proof.prove import prove_rest, read
    from nmflow.proof.violations import note_violations

    rule = window.tile, tally.pattern.capacities, window.full
    values, unsigned = batch.values(window.box)
    values, mask = for_kernels(values), for_kernels(given)
    reading = read(values, unsigned, mask, prices, *rule)
    if not reading.finite:
        batch.raise_not_finite()
    due, optimal = reading.verdict
    if not optimal.all():
        proof = prove_rest(values, unsigned, mask, optimal, *rule, labelled=prices is None)
        optimal = proof.optimal
        if not optimal.all():
            scores = np.abs(values) if unsigned else values
            tally.missed += kept_sum(scores, proof.optimum) - reading.value
    tally.count(optimal)
    tally.value += reading.value
    if not due.all():
        note_violations(tally, window, mask, due, window.full)
