"""Rows of a sharded tensor handed from one process to another, so that shards begin where tiles do.

Shards are what ``torch.chunk`` makes of an axis. Where its boundaries cut tiles, each process sends
the rows that lie in another's tiles, and only those (one ``all_to_all``), and afterwards the mask's
rows the same way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import distributed


def shard_bounds(length: int, shards: int) -> list[int]:
    """Where the shards of an axis begin, and where the last one ends; some may be empty."""
    size = -(-length // shards)
    return [min(size * shard, length) for shard in range(shards)] + [length]


def tile_bounds(length: int, shards: int, step: int) -> list[int]:
    """The same where no shard begins but at a multiple of a step: as near to equal as that is."""
    return [min(bound * step, length) for bound in shard_bounds(-(-length // step), shards)]


def cuts_none(bounds: Sequence[int], step: int) -> bool:
    """Whether all boundaries within are multiples of a step."""
    return all(bound % step == 0 for bound in bounds if bound != bounds[-1])


def exchange(part: Any, axis: int, bounds: Sequence[int], wanted: Sequence[int], group: Any) -> Any:
    """The shard of this process by other boundaries; all of the group ask together.

    Parameters
    ----------
    part : torch.Tensor
        This process's shard along ``axis``, by ``bounds``.
    axis : int
    bounds, wanted : sequence of int
        As of :func:`shard_bounds`, one more than there are processes.
    group : torch.distributed.ProcessGroup
    """
    rank = distributed.get_rank(group)
    rows = part.movedim(axis, 0).contiguous()
    others = torch.Size(rows.shape[1:])
    row_bytes = rows.element_size() * others.numel()
    sent = [n * row_bytes for n in _overlaps(_span(bounds, rank), wanted)]
    taken = [n * row_bytes for n in _overlaps(_span(wanted, rank), bounds)]
    here = wanted[rank + 1] - wanted[rank]
    found = torch.empty((here, *others), dtype=rows.dtype, device=rows.device)
    # As bytes: not every backend knows every dtype.
    distributed.all_to_all_single(_bytes(found), _bytes(rows), taken, sent, group=group)
    return found.movedim(0, axis).contiguous()


def _span(bounds: Sequence[int], rank: int) -> tuple[int, int]:
    return bounds[rank], bounds[rank + 1]


def _overlaps(span: tuple[int, int], bounds: Sequence[int]) -> list[int]:
    """How many rows of a span lie in each of the intervals between boundaries."""
    return [max(0, min(span[1], b) - max(span[0], a)) for a, b in pairwise(bounds)]


def _bytes(rows: Any) -> Any:
    return rows.reshape(-1).view(torch.uint8)
