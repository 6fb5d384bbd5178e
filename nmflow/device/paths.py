"""Shortest augmenting paths, one in each open tile at a time, by Bellman and Ford's rounds.

The algorithm of :mod:`nmflow.solvers.flow.scalar.augmentation`, which also says what the slack node
of partial tiles is. Nodes are numbered: columns 0 ... m - 1, rows m ... 2 m - 1, the slack 2 m.
Lengths are reduced costs, which are never negative, so predecessors form no circle: each is noted
only where it makes a path strictly shorter.
"""

from __future__ import annotations

from typing import Any

import torch

from nmflow.device.tiles import FAR, Tiles

SOURCE = -1


def start(tiles: Tiles, n: int, full: bool) -> None:
    """Masks whose rows obey complementary slackness, from the column potentials.

    Row potentials move between the n-th and the next largest q - v; of entries at the potential
    itself, the first are kept. Partial rows with a price of 0 may hold fewer than n.
    """
    ranked = (tiles.q - tiles.v[:, None, :]).sort(dim=2, descending=True).values
    upper, lower = ranked[:, :, n - 1], ranked[:, :, n]
    middle = lower + ((upper - lower) >> 1)
    tiles.u = middle if full else middle.clamp(min=0)
    reduced = tiles.reduced
    mask, ties = reduced > 0, reduced == 0
    missing = n - mask.sum(2, keepdim=True)
    if not full:
        missing = missing * (tiles.u > 0)[:, :, None]
    tiles.mask = mask | (ties & (ties.cumsum(2) <= missing))


def _imbalance(tiles: Tiles, n: int, full: bool) -> tuple[Any, Any]:
    """Units that each column holds too many, and those that it misses.

    On a partial tile only a column with a price must hold n.
    """
    excess = tiles.mask.sum(1) - n
    missing = (-excess).clamp(min=0)
    return excess.clamp(min=0), missing if full else missing * (tiles.v > 0)


def augment(tiles: Tiles, n: int, full: bool) -> None:
    """Move every unit to its place along shortest paths; ends with optimal masks, u and v.

    ``tiles`` must obey complementary slackness in their rows, as after :func:`start`.
    """
    index = torch.arange(len(tiles.q), device=tiles.q.device)
    part = tiles.take(index)
    while True:
        over, under = (units.sum(1) for units in _imbalance(part, n, full))
        unbalanced = (over > 0) | (under > 0)
        if not unbalanced.all():
            tiles.put(index, part)
            index, part = index[unbalanced], part.take(unbalanced)
            over, under = over[unbalanced], under[unbalanced]
        if not len(index):
            return
        _move_units(part, n, full, over, under)


def _move_units(tiles: Tiles, n: int, full: bool, over: Any, under: Any) -> None:
    """One unit in each tile."""
    m = tiles.q.shape[1]
    distance, via = _shortest(tiles, n, full, over < under)
    _, missing = _imbalance(tiles, n, full)
    ends = torch.cat([missing > 0, missing < 0, (over > under)[:, None]], 1)
    length, end = torch.where(ends, distance, FAR).min(1)
    shorter = (length[:, None] - distance).clamp(min=0)
    # The slack's own potential stays 0: the others move against it.
    shift = shorter[:, 2 * m :]
    tiles.v += shorter[:, :m] - shift
    tiles.u -= shorter[:, m : 2 * m] - shift
    node = end
    for _ in range(2 * m + 2):
        before = via.gather(1, node[:, None])[:, 0]
        going = before != SOURCE
        if not going.any():
            return
        arc = going & ((node < m) != (before < m)) & (torch.maximum(node, before) < 2 * m)
        tile = arc.nonzero()[:, 0]
        row = torch.maximum(node, before)[tile] - m
        column = torch.minimum(node, before)[tile]
        tiles.mask[tile, row, column] ^= True
        node = torch.where(going, before, node)
        via = torch.where(going[:, None], via, SOURCE)


def _shortest(tiles: Tiles, n: int, full: bool, from_slack: Any) -> tuple[Any, Any]:
    """Distances (T, 2 m + 1) from all columns that hold too many, and each node's predecessor."""
    m = tiles.q.shape[1]
    reduced, mask = tiles.reduced, tiles.mask
    drop, add = torch.where(mask, reduced, FAR), torch.where(mask, FAR, -reduced)
    in_row, in_column = mask.sum(2), mask.sum(1)
    distance = torch.full((len(mask), 2 * m + 1), FAR, dtype=torch.int64, device=mask.device)
    via = torch.full_like(distance, SOURCE)
    columns, rows, slack = (distance[:, part] for part in _parts(m))
    column_via, row_via, slack_via = (via[:, part] for part in _parts(m))
    columns[in_column > n] = 0
    if not full:
        slack[from_slack] = 0
    changed = True
    while changed:
        before = distance.clone()
        _shorten(rows, row_via, *(columns[:, None, :] + drop).min(2))
        reached, row = (rows[:, :, None] + add).min(1)
        _shorten(columns, column_via, reached, row + m)
        if not full:
            exits = [torch.where(in_column < n, columns, FAR), rows + tiles.u]
            reached, node = torch.cat(exits, 1).min(1, keepdim=True)
            _shorten(slack, slack_via, reached, node)
            _shorten(rows, row_via, torch.where(in_row < n, slack, FAR), 2 * m)
            _shorten(columns, column_via, slack + tiles.v, 2 * m)
        changed = bool((distance < before).any())
    return distance, via


def _parts(m: int) -> tuple[slice, slice, slice]:
    return slice(0, m), slice(m, 2 * m), slice(2 * m, None)


def _shorten(distance: Any, via: Any, reached: Any, node: Any) -> None:
    shorter = reached < distance
    distance.copy_(torch.where(shorter, reached, distance))
    via.copy_(torch.where(shorter, node, via))
