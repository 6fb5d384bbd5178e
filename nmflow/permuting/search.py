"""The search for orders: groups of columns exchange one column each, by an assignment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmflow.permuting.pricing import kept_with
from nmflow.permuting.shared import SharedOrder, Side
from nmflow.problem.pattern import Pattern
from nmflow.problem.workers import run_all

# Groups that exchange columns at once. An assignment among K groups takes K^2 solves, and what it
# gains grows slower than K: at equal time 16 to 64 are alike, fewer and more are worse.
_AT_ONCE = 32
# What a sum of kept scores may gain by rounding alone.
_ROUNDING = 1e-9
# A round that gains less than this share of what there is to keep is the last.
_LEAST_GAIN = 1e-5


class Search:
    """Matrices whose orders become better step by step, never worse.

    Parameters
    ----------
    matrices : sequence of ndarray, shape (R, C)
        Scores; copied.
    orders : sequence of SharedOrder
    pattern : Pattern
    seed : int
    threads : int

    Attributes
    ----------
    matrices : list of ndarray
        As the orders found so far put them.
    found : list of ndarray of int64
        For each order, which index of the beginning lies at each position now.
    gains : list of float
        For each order, what is kept more by it.
    rounds : int
        How many there were.

    Notes
    -----
    A step takes one column out of every group, at random, and deals groups into blocks at random.
    Within a block, the kept score of each group with each of the columns taken out is known from
    exact solves, and a linear sum assignment (Crouse, "On implementing 2D rectangular assignment
    algorithms", IEEE TAES 2016, in scipy) gives each group the column with which all keep most
    together. What a group keeps depends on no other, so that is what is gained. m steps, in which
    each column is taken out once, are a round: N * K * R / m solves of tiles for an order of N
    with R lines across it, in blocks of K groups.

    The blocks depend on the seed alone, and what comes of them on nothing else, so that threads
    change nothing.
    """

    def __init__(
        self,
        matrices: Sequence[NDArray[Any]],
        orders: Sequence[SharedOrder],
        pattern: Pattern,
        seed: int,
        threads: int,
    ) -> None:
        self.matrices = [np.array(matrix, order="C") for matrix in matrices]
        self.found = [np.arange(order.size) for order in orders]
        self.gains = [0.0] * len(orders)
        self.rounds = 0
        self._orders = orders
        self._pattern = pattern
        self._random = np.random.default_rng(seed)
        self._threads = threads

    def run(self, rounds: int) -> None:
        """So many rounds for all orders, or until one gains nothing to speak of."""
        total = sum(float(np.abs(each).sum(dtype=np.float64)) for each in self.matrices)
        while self.rounds < rounds:
            self.rounds += 1
            new = [self._improve(number) for number in range(len(self.found))]
            self.gains = [old + gain for old, gain in zip(self.gains, new, strict=True)]
            if sum(new) <= _LEAST_GAIN * total:
                break

    def _improve(self, number: int) -> float:
        """One round for one of the orders; what is kept more for it."""
        order = self._orders[number]
        sides = [side for side in order.sides if self._matters(side)]
        bands = _bands([self._across(side) for side in sides], self._pattern.m)
        if not bands:
            return 0.0
        moved = np.arange(order.size)
        gains: list[float] = []

        def exchange(places: NDArray[np.int64]) -> None:
            gains.append(self._exchange(bands, places, moved))

        for blocks in self._steps(order):
            run_all(exchange, blocks, self._threads)
        if not any(gains):
            return 0.0
        self.found[number] = self.found[number][moved]
        for side in order.sides:
            self._move(side, moved)
        return float(np.sort(gains).sum())

    def _matters(self, side: Side) -> bool:
        """Whether masks depend on the order of a side."""
        along = ("columns", "rows")[side.axis]
        return self._pattern.name in ("transposable", along)

    def _across(self, side: Side) -> NDArray[Any]:
        """A matrix with the side that follows the order as its columns."""
        matrix = self.matrices[side.matrix]
        across = matrix if side.axis == 1 else matrix.T
        return across if side.places is None else across[:, side.places]

    def _move(self, side: Side, moved: NDArray[np.int64]) -> None:
        matrix = self.matrices[side.matrix]
        whole = np.arange(matrix.shape[side.axis])
        if side.places is None:
            whole = moved
        else:
            whole[side.places] = side.places[moved]
        self.matrices[side.matrix] = np.ascontiguousarray(np.take(matrix, whole, axis=side.axis))

    def _steps(self, order: SharedOrder) -> Iterator[list[NDArray[np.int64]]]:
        """For each step the columns that are taken out, by blocks."""
        m, random = self._pattern.m, self._random
        groups = -(-order.size // m)
        lanes = random.permuted(np.tile(np.arange(m), (groups, 1)), axis=1)
        for step in range(m):
            places = np.arange(groups) * m + lanes[:, step]
            places = random.permutation(places[places < order.size])
            classes = np.zeros(len(places)) if order.classes is None else order.classes[places]
            blocks = []
            for each in np.unique(classes):
                alike = places[classes == each]
                blocks += np.array_split(alike, -(-len(alike) // _AT_ONCE))
            yield [block for block in blocks if len(block) > 1]

    def _exchange(
        self, bands: list[NDArray[Any]], places: NDArray[np.int64], moved: NDArray[np.int64]
    ) -> float:
        """Exchange columns of some groups as is best; what is gained."""
        from scipy.optimize import linear_sum_assignment

        along = Pattern(
            self._pattern.n,
            self._pattern.m,
            "transposable" if self._pattern.name == "transposable" else "rows",
        )
        kept = kept_with(bands, along, places)
        before = float(np.trace(kept))
        groups, chosen = linear_sum_assignment(kept, maximize=True)
        gain = float(kept[groups, chosen].sum()) - before
        if gain <= _ROUNDING * abs(before):
            return 0.0
        for band in bands:
            band[:, places] = band[:, places[chosen]]
        moved[places] = moved[places[chosen]]
        return gain


def _bands(parts: Sequence[NDArray[Any]], m: int) -> list[NDArray[Any]]:
    """Matrices of as many columns, one below the other, but for rows of partial tiles."""
    whole = [part[: len(part) - len(part) % m] for part in parts]
    rest = [np.array(part[len(part) - len(part) % m :], order="C") for part in parts]
    bands = [np.ascontiguousarray(np.concatenate(whole))] if whole else []
    return [band for band in (*bands, *rest) if len(band)]
