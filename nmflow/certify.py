"""The check of any mask: counted, summed exactly, and held against a proved optimum.

No more than the reading of the weights is shared with the solvers: feasibility is counted, the
optimum proved by :mod:`nmflow.proof.checker`, and the sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.errors import NmflowError
from nmflow.problem.arrays import to_host
from nmflow.problem.batch import MatrixBatch, as_matrices
from nmflow.problem.floating_point import standard_arithmetic
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName
from nmflow.problem.tiling import Window, windows
from nmflow.proof.certificate import Certificate, Violation
from nmflow.proof.checker import prove
from nmflow.proof.sums import exact_sum, ratio, rounded

VIOLATIONS_LISTED = 10

# Matrix, tile row and tile column, row or column of the tile.
Place = tuple[int, tuple[int, int], int]


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
) -> Certificate:
    """Check any mask, from anywhere, and prove how good it is.

    Shares no more with the solvers than how weights are read: masks are checked for optimality by
    Bellman-Ford on the residual network, and improved to the optimum by cancelling cycles where
    they are not.

    Parameters
    ----------
    weights, n, m, pattern, axes, score
        As for :func:`nmflow.solve`.
    mask : array_like of bool (or of 0 and 1), of the shape of ``weights``
        From any framework, not necessarily the one of the weights.

    Returns
    -------
    Certificate

    Raises
    ------
    NmflowError
        As :func:`nmflow.solve`; and for a mask of another shape, or of values other than 0 and 1.

    Notes
    -----
    The bound is the optimum of the linear programme, by its dual: for a full tile
    ``min n sum(u) + n sum(v) + sum(max(0, s_ij - u_i - v_j))``, for a partial one with
    u, v >= 0. The mask and the potentials found satisfy complementary slackness in exact integer
    arithmetic, which proves both optimal.

    On a full tile the bound is over masks that hold exactly n. A mask that holds fewer somewhere
    is outside that set and may exceed it: of the 3 x 3 scores (100, 0, 0), (0, 100, 100),
    (0, 100, 100) the positive five are worth 500, and 2:3 exactly is worth 400 at most. So compare
    gaps of masks that are ``full``.

    Time: about 10 sweeps over the tiles where the mask is optimal, more where cycles are found.
    """
    wanted = Pattern(n, m, pattern)
    batch = MatrixBatch.of(weights, wanted, axes, score)
    given = _mask_matrices(mask, batch, wanted)
    tally = _Tally(wanted)
    if wanted.name == "transposable":
        for window in windows(batch.shape, wanted.m):
            _certify_window(tally, window, batch.scores(window.box), given[window.box])
    else:
        for index in range(batch.shape[0] if batch.matrices.size else 0):
            scores = batch.scores((slice(index, index + 1),))[0]
            _certify_groups(tally, index, scores, given[index])
    return tally.certificate()


def _mask_matrices(mask: Any, batch: MatrixBatch, pattern: Pattern) -> NDArray[np.bool_]:
    host = to_host(mask, "mask")
    what = f"mask of shape {host.values.shape} and dtype {host.dtype} for {pattern}"
    if host.values.shape != batch.host.values.shape:
        raise NmflowError(
            f"{what}: weights have shape {batch.host.values.shape}, a mask must have the same"
        )
    values = host.decode(host.values)
    if values.dtype != np.bool_:
        odd = (values != 0) & (values != 1)
        if odd.any():
            place = tuple(int(i) for i in np.unravel_index(int(odd.argmax()), odd.shape))
            raise NmflowError(f"{what}: {values[place]} at index {place}; use True/False or 0/1")
        values = values != 0
    return as_matrices(values, batch.axes)


@dataclass(slots=True)
class _Tally:
    """What has been found so far, piece by piece."""

    pattern: Pattern
    tiles: int = 0
    optimal_tiles: int = 0
    # Sums as multiples of the least float64.
    value: int = 0
    missed: int = 0
    over: list[Violation] = field(default_factory=list)
    under: list[Violation] = field(default_factory=list)

    def count(self, optimal: NDArray[np.bool_]) -> None:
        self.tiles += optimal.size
        self.optimal_tiles += int(optimal.sum())

    def compare(self, kept: NDArray[Any], better: NDArray[Any], worse: NDArray[Any]) -> None:
        """Add kept scores; and what an optimum keeps instead of what the mask keeps."""
        self.value += exact_sum(kept)
        self.missed += exact_sum(better) - exact_sum(worse)

    def certificate(self) -> Certificate:
        bound = self.value + self.missed
        feasible = not self.over
        return Certificate(
            pattern=self.pattern,
            feasible=feasible,
            full=feasible and not self.under,
            value=rounded(self.value),
            bound=rounded(bound),
            absolute_gap=rounded(self.missed),
            gap=ratio(self.missed, bound) if feasible else math.nan,
            tiles=self.tiles,
            optimal_tiles=self.optimal_tiles,
            violations=tuple((self.over + self.under)[:VIOLATIONS_LISTED]),
        )

    def check_counts(
        self,
        held: NDArray[Any],
        allowed: int,
        exactly: bool,
        line: str,
        place: Callable[..., Place],
    ) -> None:
        """Note groups that hold too many or, if exactly so many are due, too few."""
        for wrong, found in ((held > allowed, self.over), (held < allowed, self.under)):
            if found is self.under and not exactly:
                continue
            for where in np.argwhere(wrong)[: VIOLATIONS_LISTED - len(found)]:
                matrix, tile, index = place(*(int(i) for i in where))
                found.append(Violation(matrix, tile, line, index, int(held[tuple(where)]), allowed))


def _certify_window(
    tally: _Tally, window: Window, scores: NDArray[Any], given: NDArray[np.bool_]
) -> None:
    """Certify the tiles of one window."""
    n = tally.pattern.n
    tiles, mask = window.cut(scores), window.cut(given)
    per_row, per_column = mask.sum(axis=2), mask.sum(axis=1)
    _, down, across = window.grid
    matrices, row_span, column_span = window.box
    corner = row_span.start // tally.pattern.m, column_span.start // tally.pattern.m

    def place(tile: int, index: int) -> Place:
        matrix, rest = divmod(tile, down * across)
        i, j = divmod(rest, across)
        return matrices.start + matrix, (corner[0] + i, corner[1] + j), index

    tally.check_counts(per_row, n, window.full, "row", place)
    tally.check_counts(per_column, n, window.full, "column", place)
    proof = prove(tiles, mask, n, window.full)
    if not proof.proved.all():
        raise AssertionError("cycle cancelling ended without a proof; please report this")
    same = (proof.optimum == mask).all(axis=(1, 2))
    tally.count(same)
    other, ours = proof.optimum[~same], mask[~same]
    tally.compare(tiles[mask], tiles[~same][other & ~ours], tiles[~same][ours & ~other])


def _certify_groups(
    tally: _Tally, matrix: int, scores: NDArray[Any], given: NDArray[np.bool_]
) -> None:
    """Certify one matrix under a pattern whose groups don't overlap."""
    m, name = tally.pattern.m, tally.pattern.name
    if name == "unstructured":
        _certify_equal_groups(
            tally,
            scores.reshape(1, -1),
            given.reshape(1, -1),
            tally.pattern.kept_of(scores.size),
            True,
            "matrix",
            lambda _: (matrix, (0, 0), 0),
        )
        return
    if name == "columns":
        scores, given = scores.T, given.T
    length = scores.shape[1]
    whole = length - length % m
    for start, stop, size in ((0, whole, m), (whole, length, length - whole)):
        if start == stop:
            continue

        def place(
            group: int, first: int = start // m, along: int = (stop - start) // size
        ) -> Place:
            line, step = divmod(group, along)
            tile = (line, first + step)
            return matrix, tile if name == "rows" else tile[::-1], 0

        _certify_equal_groups(
            tally,
            scores[:, start:stop].reshape(-1, size),
            given[:, start:stop].reshape(-1, size),
            tally.pattern.n,
            size == m,
            name.removesuffix("s"),
            place,
        )


def _certify_equal_groups(
    tally: _Tally,
    scores: NDArray[Any],
    mask: NDArray[np.bool_],
    count: int,
    exactly: bool,
    line: str,
    place: Callable[..., Place],
) -> None:
    """Groups of equal length: an optimum keeps the ``count`` largest of each.

    In a group of a ragged edge (not ``exactly``) it keeps at most so many, and none negative.
    """
    held = mask.sum(axis=1)
    tally.check_counts(held, count, exactly, line, place)
    length = scores.shape[1]
    # The fallbacks make the comparison hold where nothing is kept, or nothing pruned.
    lowest_kept = np.where(mask, scores, scores.max(axis=1, keepdims=True)).min(axis=1)
    highest_pruned = np.where(mask, scores.min(axis=1, keepdims=True), scores).max(axis=1)
    optimal = (held == count) & (lowest_kept >= highest_pruned)
    if not exactly:
        none_pruned_pays = ~(~mask & (scores > 0)).any(axis=1)
        optimal = (optimal | (none_pruned_pays & (held <= count))) & ~(mask & (scores < 0)).any(
            axis=1
        )
    tally.count(optimal)
    order = np.argsort(scores[~optimal], axis=1)[:, max(length - count, 0) :]
    best = np.zeros(scores[~optimal].shape, np.bool_)
    np.put_along_axis(best, order, True, axis=1)
    if not exactly:
        best &= scores[~optimal] >= 0
    ours = mask[~optimal]
    tally.compare(scores[mask], scores[~optimal][best & ~ours], scores[~optimal][ours & ~best])
