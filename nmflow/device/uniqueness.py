"""Whether an optimal mask is the only one, for the scores themselves."""

from __future__ import annotations

from typing import Any

import torch

from nmflow.device.tiles import FAR, Tiles


def margin(m: int) -> int:
    """Bits by which lengths are multiplied where they are exact, so that m units are less than 1.

    A cycle adds at most m entries.
    """
    return m.bit_length()


def is_unique(tiles: Tiles, n: int, full: bool, exact: Any) -> Any:
    """In which tiles no other mask is optimal.

    Parameters
    ----------
    tiles : Tiles
        With optimal masks and potentials.
    exact : bool Tensor, shape (T,)
        Whether q are the scores, or such as scores are floors of.

    Notes
    -----
    Another mask differs by cycles that add as many entries as they drop, or, on a partial tile, go
    through the slack node. The floor of an entry that a cycle adds is less than one unit below its
    score, so if no cycle pays even with each added entry a unit dearer, no other mask is as good.
    Bellman and Ford's rounds end where there is none. Of exact scores a fraction of a unit is
    added: then they end unless a cycle costs nothing. Entries that a partial tile could do
    without, at no cost, are kept, as the tie tables, which are positive, want them.
    """
    m = tiles.q.shape[1]
    factor = torch.where(exact, 1 << margin(m), 1)[:, None]
    reduced = tiles.reduced * factor[:, :, None]
    mask, u, v = tiles.mask, tiles.u * factor, tiles.v * factor
    drop, add = torch.where(mask, reduced, FAR), torch.where(mask, FAR, -reduced - 1)
    has_room = mask.sum(2) < n, mask.sum(1) < n
    columns, rows = torch.zeros_like(v), torch.zeros_like(u)
    slack = torch.zeros_like(v[:, :1])
    shorter = torch.ones(len(mask), dtype=torch.bool, device=mask.device)
    for _ in range(2 * m + 2):
        before = columns + 0
        rows = torch.minimum(rows, (columns[:, None, :] + drop).amin(2))
        columns = torch.minimum(columns, (rows[:, :, None] + add).amin(1))
        if not full:
            exits = [torch.where(has_room[1], columns, FAR), rows + u, slack]
            slack = torch.cat(exits, 1).amin(1, keepdim=True)
            rows = torch.where(has_room[0], torch.minimum(rows, slack), rows)
            columns = torch.minimum(columns, slack + v)
        shorter = (columns < before).any(1)
        if not shorter.any():
            break
    return ~shorter
