"""Optimal masks by cycle cancelling, in numpy: what proofs of certificates are held against.

A mask of a tile is a flow from rows to columns. Changes of a mask are cycles of the residual
network: a row adds a pruned entry (cost -s), a column drops a kept one (cost +s), and a slack node
stands for capacity that a row or column leaves unused. A mask is optimal if and only if no such
cycle is negative (Klein, Management Science 14, 1967; Ahuja, Magnanti & Orlin, Network Flows,
1993, sec. 9.6). Bellman-Ford either converges, and its labels are then an optimal solution of the
LP dual, or its predecessors close a negative cycle, along which the mask is improved.

All tiles of a batch go through the same numpy operations side by side, in integers: 64-bit where
those hold the scores, else Python's. Nothing here is shared with nmflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Sweeps between looks for a cycle.
SWEEPS_PER_LOOK = 3


class Proof(NamedTuple):
    """The outcome for a batch of tiles.

    Attributes
    ----------
    optimum : ndarray of bool, shape (T, r, c)
        Optimal masks; the given one where that is optimal.
    proved : ndarray of bool, shape (T,)
        Whether the LP dual proves it.
    """

    optimum: NDArray[np.bool_]
    proved: NDArray[np.bool_]


def prove(scores: NDArray[Any], mask: NDArray[np.bool_], n: int, full: bool) -> Proof:
    """Optimal masks of tiles, found from the given ones, each with its proof.

    Parameters
    ----------
    scores : ndarray, shape (T, r, c), float32, float64, int64 or uint64
    mask : ndarray of bool, shape (T, r, c)
        Where to start; replaced by any feasible mask where a row or column holds more than n.
    n : int
    full : bool
        Whether rows and columns must hold exactly n, or at most n.
    """
    start = _feasible_start(mask, n)
    low, high = _integer_bounds(scores, full)
    lossless = (low == high).all(axis=(1, 2))
    optimum, proved = _cancel_cycles(low, high, start, n, lossless)
    left = np.flatnonzero(~proved)
    if left.size:
        exact = _exact_integers(scores[left], full)
        everything = np.ones(left.size, np.bool_)
        optimum[left], proved[left] = _cancel_cycles(exact, exact, start[left], n, everything)
    return Proof(optimum, proved)


def _feasible_start(mask: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    _, rows, columns = mask.shape
    over = (mask.sum(axis=1) > n).any(axis=1) | (mask.sum(axis=2) > n).any(axis=1)
    if not over.any():
        return mask
    longest = max(rows, columns)
    circulant = (np.arange(columns)[None, :] - np.arange(rows)[:, None]) % longest < n
    return np.where(over[:, None, None], circulant, mask)


def _integer_bounds(scores: NDArray[Any], full: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Per tile, scores times a power of two, rounded down and up to 64-bit integers.

    A mask that is optimal with its kept scores rounded down and its pruned ones rounded up is
    optimal for anything between.
    """
    m = max(scores.shape[1:])
    bits = 60 - (8 * (m + 1)).bit_length()
    if scores.dtype.kind == "f":
        exponent = np.frexp(np.abs(scores).max(axis=(1, 2), keepdims=True))[1]
        with np.errstate(under="ignore"):
            scaled = np.ldexp(scores, bits - exponent)
        low, high = np.floor(scaled), np.ceil(scaled)
        # Scores that scaling made 0 are not 0.
        low[(scaled == 0) & (scores < 0)] = -1
        high[(scaled == 0) & (scores > 0)] = 1
        low, high = low.astype(np.int64), high.astype(np.int64)
    else:
        unit = scores.dtype.type(1 << (64 - bits))
        low = (scores // unit).astype(np.int64)
        high = low + (scores % unit != 0)
    return _reward_filling(low, full, 1 << bits), _reward_filling(high, full, 1 << bits)


def _exact_integers(scores: NDArray[Any], full: bool) -> NDArray[Any]:
    """Per tile, scores times a power of two as Python integers, nothing rounded."""
    exact = np.empty(scores.shape, object)
    for t, tile in enumerate(scores):
        ratios = [value.as_integer_ratio() for value in tile.ravel().tolist()]
        denominator = max(bottom for _, bottom in ratios)
        whole = [top * (denominator // bottom) for top, bottom in ratios]
        limit = max(1, *(abs(value) for value in whole))
        exact[t] = _reward_filling(np.array(whole, object).reshape(tile.shape), full, limit)
    return exact


def _reward_filling(scores: NDArray[Any], full: bool, limit: int) -> NDArray[Any]:
    """Turn "exactly n" into "at most n": one more entry is worth more than any path of scores."""
    return scores + 2 * (max(scores.shape[1:]) + 1) * limit if full else scores


class _Tiles(NamedTuple):
    """Tiles still to be proved: integer scores rounded down and up, masks, place in the batch."""

    low: NDArray[Any]
    high: NDArray[Any]
    lossless: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    place: NDArray[np.intp]
    n: int

    def select(self, chosen: NDArray[Any]) -> _Tiles:
        low, high, lossless, mask, place, n = self
        return _Tiles(low[chosen], high[chosen], lossless[chosen], mask[chosen], place[chosen], n)


@dataclass(slots=True)
class _Network:
    """Residual networks of a batch, with Bellman-Ford labels and predecessors.

    Nodes: rows 0 ... r-1, columns r ... r+c-1, and the slack node r+c. A predecessor that is the
    node itself is none.
    """

    ARRAYS: ClassVar = ("add", "drop", "row_room", "column_room", "label", "before")

    tiles: _Tiles
    # Arc costs, the head of the arc on the last-but-one axis: add[t, j, i], drop[t, i, j].
    add: NDArray[Any]
    drop: NDArray[Any]
    row_room: NDArray[np.bool_]
    column_room: NDArray[np.bool_]
    label: NDArray[Any]
    before: NDArray[np.intp]

    @classmethod
    def build(cls, tiles: _Tiles) -> _Network:
        """Networks with all labels 0."""
        count, rows, columns = tiles.low.shape
        nodes = rows + columns + 1
        infinity = 1 << 61
        if tiles.low.dtype == object:
            infinity = 4 * nodes * (1 + int(abs(tiles.low).max()))
        return cls(
            tiles=tiles,
            add=np.where(tiles.mask, infinity, -tiles.high).swapaxes(1, 2).copy(),
            drop=np.where(tiles.mask, tiles.low, infinity),
            row_room=tiles.mask.sum(axis=2) < tiles.n,
            column_room=tiles.mask.sum(axis=1) < tiles.n,
            label=np.zeros((count, nodes), tiles.low.dtype),
            before=np.tile(np.arange(nodes), (count, 1)),
        )

    def select(self, chosen: NDArray[Any]) -> _Network:
        """The networks of some of the tiles, labels included."""
        return _Network(
            tiles=self.tiles.select(chosen),
            **{name: getattr(self, name)[chosen] for name in self.ARRAYS},
        )

    def sweep(self) -> NDArray[np.bool_]:
        """Relax every arc once; which tiles changed."""
        rows, columns = self.tiles.low.shape[1:]
        row, column = self.label[:, :rows], self.label[:, rows:-1]
        slack = self.label[:, -1:]
        changed = self._relax(slice(rows, rows + columns), row[:, None, :] + self.add, 0)
        changed |= self._relax_from_slack(slice(rows, rows + columns), slack, True)
        changed |= self._relax(slice(0, rows), column[:, None, :] + self.drop, rows)
        changed |= self._relax_from_slack(slice(0, rows), slack, self.row_room)
        into = np.where(self.column_room, column, 1 + np.maximum(column, 0))
        both = np.concatenate([row, into], axis=1)[:, None, :]
        changed |= self._relax(slice(rows + columns, None), both, 0)
        return changed

    def _relax(self, heads: slice, lengths: NDArray[Any], first_tail: int) -> NDArray[np.bool_]:
        """Give nodes the shortest of their arcs: lengths[t, head, tail]."""
        tail = lengths.argmin(axis=2)
        best = np.take_along_axis(lengths, tail[:, :, None], axis=2)[:, :, 0]
        return self._improve(heads, best, tail + first_tail, True)

    def _relax_from_slack(self, heads: slice, slack: NDArray[Any], room: Any) -> NDArray[np.bool_]:
        return self._improve(heads, slack, self.label.shape[1] - 1, room)

    def _improve(self, heads: slice, best: Any, tail: Any, allowed: Any) -> NDArray[np.bool_]:
        label, before = self.label[:, heads], self.before[:, heads]
        better = (best < label) & allowed
        label[...] = np.where(better, best, label)
        before[...] = np.where(better, tail, before)
        improved: NDArray[np.bool_] = better.any(axis=1)
        return improved

    def on_cycle(self) -> NDArray[np.bool_]:
        """Which nodes lie on cycles of predecessors; each such cycle is negative."""
        nodes = self.before.shape[1]
        jump = self.before
        for _ in range(nodes.bit_length()):
            # After at least as many steps as there are nodes, one stands on a root or a cycle.
            jump = np.take_along_axis(jump, jump, axis=1)
        reached = np.zeros(self.before.shape, np.bool_)
        np.put_along_axis(reached, jump, True, axis=1)
        reached &= self.before != np.arange(nodes)
        return reached

    def cancel(self, cycles: NDArray[np.bool_]) -> None:
        """Flip the entries along the cycles of some tiles and start those tiles afresh."""
        rows, columns = self.tiles.low.shape[1:]
        tile, node = np.nonzero(cycles)
        if not tile.size:
            return
        other = self.before[tile, node]
        adds = (node >= rows) & (node < rows + columns) & (other < rows)
        drops = (node < rows) & (other >= rows) & (other < rows + columns)
        self.tiles.mask[tile[adds], other[adds], node[adds] - rows] = True
        self.tiles.mask[tile[drops], node[drops], other[drops] - rows] = False
        again = np.unique(tile)
        fresh = _Network.build(self.tiles.select(again))
        for name in self.ARRAYS:
            getattr(self, name)[again] = getattr(fresh, name)

    def has_proof(self) -> NDArray[np.bool_]:
        """Whether the labels are dual feasible and complementary to the mask.

        With u_i, v_j >= 0 the prices of the rows and columns: kept scores are at least
        u_i + v_j, pruned ones at most, and a row or column with room has price 0.
        """
        tiles, rows = self.tiles, self.tiles.low.shape[1]
        u = self.label[:, :rows] - self.label[:, -1:]
        v = self.label[:, -1:] - self.label[:, rows:-1]
        price = u[:, :, None] + v[:, None, :]
        entries = np.where(tiles.mask, tiles.low >= price, tiles.high <= price).all(axis=(1, 2))
        row_prices = ((u >= 0) & ((u == 0) | ~self.row_room)).all(axis=1)
        column_prices = ((v >= 0) & ((v == 0) | ~self.column_room)).all(axis=1)
        proved: NDArray[np.bool_] = entries & row_prices & column_prices
        return proved


def _cancel_cycles(
    low: NDArray[Any],
    high: NDArray[Any],
    mask: NDArray[np.bool_],
    n: int,
    lossless: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Improve masks until proved optimal; tiles that rounding leaves open come back unproved."""
    optimum, proved = mask.copy(), np.zeros(len(mask), np.bool_)
    tiles = _Tiles(low, high, lossless, mask.copy(), np.arange(len(mask)), n)
    network = _Network.build(tiles)
    while network.tiles.place.size:
        for _ in range(SWEEPS_PER_LOOK):
            changed = network.sweep()
        cycles = network.on_cycle()
        hopeless = cycles.any(axis=1) & ~network.tiles.lossless
        network.cancel(cycles & ~hopeless[:, None])
        done = ~changed
        optimum[network.tiles.place[done]] = network.tiles.mask[done]
        proved[network.tiles.place[done]] = network.has_proof()[done]
        network = network.select(~(done | hopeless))
    return optimum, proved
