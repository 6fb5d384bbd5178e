"""TSENOR by batched tensor operations, as published, for a GPU (Meng et al., NeurIPS 2025).

Entropic optimal transport with capacities, rounding, local search: what ``nmflow.Entropic`` does by
default, for all tiles at once.
"""

from __future__ import annotations

from typing import Any

import torch

TAU, ITERATIONS = 60.0, 300
# Rows and columns that rounding leaves short are few, and each step of the search fills one pair.
SEARCHES = 32


def tsenor(weights: Any, n: int, m: int) -> Any:
    """The mask of a matrix (rows, columns), which m divides; every row and column holds n.

    Nearly always: tiles that the search does not fill in :data:`SEARCHES` steps stay short.
    """
    rows, columns = weights.shape
    tiles = weights.abs().float().reshape(rows // m, m, columns // m, m).transpose(1, 2)
    scores = tiles.reshape(-1, m, m)
    mask = _rounded(_plan(scores, n), n)
    _search(scores, mask, n)
    return mask.reshape(rows // m, columns // m, m, m).transpose(1, 2).reshape(rows, columns)


def _plan(scores: Any, n: int) -> Any:
    """Dykstra's iterations on exp(tau * scores), scaled by each tile's largest."""
    tiny = torch.finfo(scores.dtype).tiny
    plan = torch.exp(TAU * scores / scores.amax((1, 2), keepdim=True).clamp(min=tiny))
    dual = torch.ones_like(plan)
    for _ in range(ITERATIONS):
        plan *= n / plan.sum(2, keepdim=True)
        plan *= n / plan.sum(1, keepdim=True)
        capped = (plan * dual).clamp(tiny, 1)
        dual *= plan / capped
        plan = capped
    return plan


def _rounded(plan: Any, n: int) -> Any:
    """In descending order an entry is kept while its row and its column have room."""
    tiles, m, _ = plan.shape
    order = plan.reshape(tiles, -1).argsort(1, descending=True)
    each = torch.arange(tiles, device=plan.device)
    room = torch.full((2, tiles, m), n, device=plan.device)
    mask = torch.zeros(tiles, m * m, dtype=torch.bool, device=plan.device)
    for k in range(m * m):
        entry = order[:, k]
        row, column = entry // m, entry % m
        fits = (room[0, each, row] > 0) & (room[1, each, column] > 0)
        room[0, each, row] -= fits.to(room.dtype)
        room[1, each, column] -= fits.to(room.dtype)
        mask[each, entry] = fits
    return mask.reshape(tiles, m, m)


def _search(scores: Any, mask: Any, n: int) -> None:
    """Insert two entries and remove one, where a row and a column are short, at the best gain."""
    for _ in range(SEARCHES):
        short_rows, short_columns = mask.sum(2) < n, mask.sum(1) < n
        tile = short_rows.any(1).nonzero()[:, 0]
        if not len(tile):
            return
        row = short_rows[tile].to(torch.int8).argmax(1)
        column = short_columns[tile].to(torch.int8).argmax(1)
        here = torch.arange(len(tile), device=mask.device)
        kept, values = mask[tile], scores[tile]
        in_row, in_column = values[here, row], values[here, :, column]
        gain = in_row[:, None, :] + in_column[:, :, None] - values
        free = ~kept[here, row][:, None, :] & ~kept[here, :, column][:, :, None]
        gain = gain.masked_fill(~(kept & free), -torch.inf).reshape(len(tile), -1)
        most, best = gain.max(1)
        # No exchange fills what is short in the others.
        can = most > -torch.inf
        tile, row, column, best = (each[can] for each in (tile, row, column, best))
        i, j = best // mask.shape[2], best % mask.shape[2]
        mask[tile, i, j] = False
        mask[tile, row, j] = True
        mask[tile, i, column] = True
