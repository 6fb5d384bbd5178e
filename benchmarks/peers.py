"""Other people's ways to solve the same problem: each peer is one function on a batch of tiles.

A peer takes nonnegative float64 scores of shape (T, m, m) and n, and returns bool masks of the
same shape. Each is used in whichever form was the fastest: graphs and models from arrays where
they can be, several tiles in one of them where that helps. What a peer needs is imported when it
first runs; a peer that is not installed is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Masks = NDArray[np.bool_]

# Tiles in one graph or model: from one to sixteen, calls get cheaper; beyond, no longer.
TOGETHER = 16
# What integer solvers see: the largest score of a tile has this many bits.
BITS = 30
# Tiles multiplied by the masks at once: the values stay in the processor's cache.
CHUNK = 2048


def ortools(scores: Scores, n: int, together: int) -> Masks:
    """OR-tools' SimpleMinCostFlow, so many tiles in a graph, built with its array calls."""
    from ortools.graph.python import min_cost_flow

    m = scores.shape[1]
    entries = slice(m, m + m * m)
    masks = np.empty(scores.shape, np.bool_)
    for first in range(0, len(scores), together):
        part = slice(first, first + together)
        count = len(scores[part])
        tails, heads, capacities, nodes, supplies = _network(m, n, count)
        costs = np.zeros((count, tails.size // count), np.int64)
        costs[:, entries] = -_integers(scores[part]).reshape(count, -1)
        graph = min_cost_flow.SimpleMinCostFlow()
        arcs = graph.add_arcs_with_capacity_and_unit_cost(tails, heads, capacities, costs.ravel())
        graph.set_nodes_supplies(nodes, supplies)
        if graph.solve() != graph.OPTIMAL:
            raise RuntimeError("OR-tools found no optimum")
        masks[part] = graph.flows(arcs).reshape(count, -1)[:, entries].reshape(-1, m, m)
    return masks


def networkx(scores: Scores, n: int) -> Masks:
    """NetworkX's min_cost_flow, as in the paper's code.

    On integers: on floats it may not end.
    """
    import networkx as nx

    m = scores.shape[1]
    masks = np.empty(scores.shape, np.bool_)
    for mask, costs in zip(masks, (-_integers(scores)).tolist(), strict=True):
        graph = nx.DiGraph()
        graph.add_node("s", demand=-n * m)
        graph.add_node("t", demand=n * m)
        for i in range(m):
            graph.add_edge("s", ("r", i), capacity=n, weight=0)
            graph.add_edge(("c", i), "t", capacity=n, weight=0)
            for j in range(m):
                graph.add_edge(("r", i), ("c", j), capacity=1, weight=costs[i][j])
        flow = nx.min_cost_flow(graph)
        mask[:] = [[flow["r", i]["c", j] for j in range(m)] for i in range(m)]
    return masks


def pulp(scores: Scores, n: int) -> Masks:
    """The linear programme through PuLP and CBC, which is another process."""
    import pulp as lp

    m = scores.shape[1]
    masks = np.empty(scores.shape, np.bool_)
    scaled = _scaled(scores)
    for first in range(0, len(scores), TOGETHER):
        values = scaled[first : first + TOGETHER]
        keep = np.empty(values.shape, object)
        for place in np.ndindex(values.shape):
            keep[place] = lp.LpVariable("x{}_{}_{}".format(*place), 0, 1)
        model = lp.LpProblem("tiles", lp.LpMaximize)
        model += lp.LpAffineExpression(zip(keep.ravel(), values.ravel().tolist(), strict=True))
        for line in (*keep.reshape(-1, m), *keep.swapaxes(1, 2).reshape(-1, m)):
            model += lp.lpSum(line) == n
        model.solve(lp.PULP_CBC_CMD(msg=False))
        found = np.array([x.value() for x in keep.ravel()]).reshape(keep.shape)
        masks[first : first + TOGETHER] = found > 0.5
    return masks


def highs(scores: Scores, n: int) -> Masks:
    """The linear programme through scipy's HiGHS."""
    from scipy.optimize import linprog
    from scipy.sparse import block_diag

    masks = np.empty(scores.shape, np.bool_)
    scaled = _scaled(scores)
    for first in range(0, len(scores), TOGETHER):
        part = scaled[first : first + TOGETHER]
        lines = block_diag([_incidence(scores.shape[1])] * len(part), "csr")
        each = np.full(lines.shape[0], float(n))
        found = linprog(-part.ravel(), A_eq=lines, b_eq=each, bounds=(0, 1), method="highs")
        if found.status:
            raise RuntimeError(found.message)
        masks[first : first + TOGETHER] = found.x.reshape(part.shape) > 0.5
    return masks


def pot(scores: Scores, n: int) -> Masks:
    """POT's exact solver, ot.emd.

    Optimal transport has no upper bounds on its plan. At n = 1 none are needed. Beyond, each entry
    becomes a source of one unit that goes to its column where it is kept and to its row where it is
    pruned; the columns demand n and the rows m - n. The cost matrix is sparse: two arcs a source.
    """
    import ot
    from scipy.sparse import coo_array

    m = scores.shape[1]
    masks = np.empty(scores.shape, np.bool_)
    scaled = _scaled(scores)
    if n == 1:
        ones = np.ones(m)
        for mask, tile in zip(masks, scaled, strict=True):
            mask[:] = ot.emd(ones, ones, 1 - tile) > 0.5
        return masks
    supply, demand = np.ones(m * m), np.repeat([float(n), float(m - n)], m)
    entry = np.arange(m * m)
    sources, sinks = np.tile(entry, 2), np.concatenate([entry % m, m + entry // m])
    for mask, tile in zip(masks, scaled, strict=True):
        # Costs of at least one, because a sparse matrix may drop zeros.
        cost = np.concatenate([2 - tile.ravel(), np.full(m * m, 2.0)])
        plan = ot.emd(supply, demand, coo_array((cost, (sources, sinks)), (m * m, 2 * m)))
        plan = plan.tocoo()
        kept = (plan.col < m) & (plan.data > 0.5)
        mask[:] = False
        mask.ravel()[plan.row[kept]] = True
    return masks


def masks_numpy(scores: Scores, n: int) -> Masks:
    """Scores times all masks of a 4 x 4 tile in numpy, float32, the largest taken."""
    m = scores.shape[1]
    masks = _all_masks(n, m)
    table = masks.T.astype(np.float32)
    flat = scores.reshape(len(scores), -1).astype(np.float32)
    best = np.empty(len(flat), np.intp)
    for first in range(0, len(flat), CHUNK):
        part = slice(first, first + CHUNK)
        (flat[part] @ table).argmax(axis=1, out=best[part])
    return masks[best].reshape(scores.shape)


def masks_torch(scores: Scores, n: int) -> Masks:
    """Scores times all masks of a 4 x 4 tile in PyTorch, float32, the largest taken."""
    import torch

    m = scores.shape[1]
    masks = torch.from_numpy(_all_masks(n, m))
    table = masks.T.float()
    flat = torch.from_numpy(scores.reshape(len(scores), -1)).float()
    best = torch.cat([(part @ table).argmax(1) for part in flat.split(CHUNK)])
    found: Masks = masks[best].numpy().reshape(scores.shape)
    return found


def _integers(scores: Scores) -> NDArray[np.int64]:
    return np.round(_scaled(scores) * 2.0**BITS).astype(np.int64)


def _scaled(scores: Scores) -> Scores:
    largest = scores.max(axis=(1, 2), keepdims=True)
    return scores / np.where(largest > 0, largest, 1)


@lru_cache
def _network(m: int, n: int, count: int) -> tuple[NDArray[np.int64], ...]:
    """Tails, heads and capacities of the arcs, nodes and supplies, for equal tiles.

    Each tile's arcs go from its source to its rows, to its columns, to its sink.
    """
    rows, columns, sink = 1 + np.arange(m), 1 + m + np.arange(m), 2 * m + 1
    tails = np.concatenate([np.zeros(m, np.int64), np.repeat(rows, m), columns])
    heads = np.concatenate([rows, np.tile(columns, m), np.full(m, sink)])
    capacities = np.concatenate([np.full(m, n), np.ones(m * m, np.int64), np.full(m, n)])
    supplies = np.zeros(sink + 1, np.int64)
    supplies[[0, sink]] = n * m, -n * m
    shift = (sink + 1) * np.arange(count)[:, None]
    return (
        (tails + shift).ravel(),
        (heads + shift).ravel(),
        np.tile(capacities, count),
        np.arange((sink + 1) * count),
        np.tile(supplies, count),
    )


@lru_cache
def _incidence(m: int) -> Any:
    """The rows and the columns that each entry of a tile lies in."""
    from scipy.sparse import csr_array

    entry = np.arange(m * m)
    lines = np.concatenate([entry // m, m + entry % m])
    return csr_array((np.ones(2 * m * m), (lines, np.tile(entry, 2))), (2 * m, m * m))


@lru_cache
def _all_masks(n: int, m: int) -> Masks:
    """Every n:m transposable mask of a tile, one a row."""
    lines = [[j in kept for j in range(m)] for kept in combinations(range(m), n)]
    every = np.array(list(product(lines, repeat=m)))
    masks: Masks = every[(every.sum(axis=1) == n).all(axis=1)].reshape(-1, m * m)
    return masks


class Peer(NamedTuple):
    """A peer and what it is good for.

    Attributes
    ----------
    title : str
    module : str
        What must be installed.
    solve : callable
    weights : int
        About how many weights it is given at a time.
    largest : int
        The largest m it can do.
    """

    title: str
    module: str
    solve: Callable[[Scores, int], Masks]
    weights: int
    largest: int = 32

    @property
    def installed(self) -> bool:
        """Whether what it needs is there."""
        return find_spec(self.module) is not None


PEERS = {
    "ortools": Peer(
        f"OR-tools, {TOGETHER} tiles a graph",
        "ortools",
        partial(ortools, together=TOGETHER),
        1 << 16,
    ),
    "ortools-single": Peer(
        "OR-tools, a graph for each tile", "ortools", partial(ortools, together=1), 1 << 16
    ),
    "pot": Peer("POT", "ot", pot, 1 << 14),
    "highs": Peer("scipy HiGHS", "scipy", highs, 1 << 14),
    "pulp": Peer("PuLP/CBC", "pulp", pulp, 1 << 13),
    "networkx": Peer("NetworkX", "networkx", networkx, 1 << 13),
    "masks-numpy": Peer("mask product, numpy", "numpy", masks_numpy, 1 << 20, largest=4),
    "masks-torch": Peer("mask product, PyTorch", "torch", masks_torch, 1 << 20, largest=4),
}
