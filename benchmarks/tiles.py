"""Part one: every method and peer, per tile, on one core."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import nmflow
from benchmarks.peers import PEERS
from benchmarks.problems import WEIGHTS, matrix_of, some_of, tiles_of
from benchmarks.quality import quality, scores_of
from benchmarks.timing import Times, interleaved, spread

# Weights given at a time to methods too slow for all of them.
SAMPLES = {"lp": 1 << 13}
# `exhaustive` refuses patterns of more masks.
EXHAUSTIVE = 4
# What all are compared with.
BASE = "flow"

Row = dict[str, Any]


class Entrant(NamedTuple):
    """A method or peer with its tiles.

    Attributes
    ----------
    call : callable
        Finds the masks, from memory as it would be met: nmflow from the weights' row-major matrix,
        peers from float64 scores tile by tile, which costs them no preparation.
    read : callable
        Makes what the call returns an array of masks, shape (T, m, m).
    tiles : ndarray, shape (T, m, m)
    """

    call: Callable[[], NDArray[np.bool_]]
    read: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
    tiles: NDArray[Any]


def entrants(weights: NDArray[Any], n: int, m: int) -> Iterator[tuple[str, Entrant]]:
    """All that can do n:m."""
    tiles = tiles_of(weights, m)
    for method in nmflow.methods():
        if method.name == "exhaustive" and m > EXHAUSTIVE:
            continue
        some, matrix = tiles, weights
        if method.name in SAMPLES:
            some = some_of(tiles, SAMPLES[method.name])
            matrix = matrix_of(some)
        call = partial(nmflow.solve, matrix, n, m, method.name, workers=1)
        yield method.name, Entrant(call, partial(tiles_of, m=m), some)
    for name, peer in PEERS.items():
        if peer.installed and m <= peer.largest:
            some = some_of(tiles, peer.weights)
            yield name, Entrant(partial(peer.solve, scores_of(some), n), np.asarray, some)


class Contest:
    """All entrants on one kind of weights at one n:m; each is called once and its masks judged.

    Parameters
    ----------
    kind : str
        Of weights.
    n, m : int

    Raises
    ------
    RuntimeError
        If a method that claims it does not find the optimum.
    """

    def __init__(self, kind: str, n: int, m: int) -> None:
        field = dict(entrants(WEIGHTS[kind](), n, m))
        self._counts = {name: len(entrant.tiles) for name, entrant in field.items()}
        self._calls = {name: entrant.call for name, entrant in field.items()}
        self._times = {name: Times([], []) for name in field}
        self._quality = {}
        for name, entrant in field.items():
            optima = tiles_of(nmflow.solve(matrix_of(entrant.tiles), n, m), m)
            masks = entrant.read(entrant.call())
            self._quality[name] = quality(scores_of(entrant.tiles), masks, optima, n)
        for method in nmflow.methods():
            if method.exact and self._quality.get(method.name, {"optimal": 1})["optimal"] < 1:
                raise RuntimeError(f"{method.name} is not exact at {n}:{m} on {kind}")

    def play(self, rounds: int, allowance: float) -> None:
        """Time all entrants in turn, the slow ones once; adds to what was timed before."""
        times = interleaved(self._calls, BASE, rounds, allowance=allowance, fewest=1)
        for name, more in times.items():
            self._times[name].seconds.extend(more.seconds)
            self._times[name].ratios.extend(more.ratios)

    def rows(self) -> dict[str, Row]:
        """Times, ratios to the base's time per tile and quality, by entrant."""
        return {name: self._row(name) for name in self._calls}

    def _row(self, name: str) -> Row:
        count, times = self._counts[name], self._times[name]
        # A ratio to the base's time per tile, not per call.
        scale = self._counts[BASE] / count
        return {
            "microseconds": spread(times.seconds, 1e6 / count),
            "times_flow": scale * statistics.median(times.ratios or [1.0]),
            "tiles": count,
            "rounds": len(times.seconds),
        } | self._quality[name]
