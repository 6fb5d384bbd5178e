"""Memory on the CPU that is taken again as soon as nobody holds it.

A masked weight lives from a forward pass to the backward pass behind it. PyTorch gives such memory
back to the system on the CPU, and getting it anew at the next step, page by page, takes up to ten
times as long as filling it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

# The masked weight, and the gradient of what is kept.
_TENSORS = 2
# Of a tensor that only this module holds, and of the object through which it is asked for.
_UNUSED = 2


class Scratch:
    """Memory for tensors like one weight."""

    def __init__(self) -> None:
        self._kept: deque[Any] = deque()

    def take(self, like: Any) -> Any:
        """An uninitialised tensor like another, which no other tensor shares memory with."""
        for _ in range(len(self._kept)):
            try:
                # Not in the queue while it is looked at, so that threads don't take it twice.
                kept = self._kept.popleft()
            except IndexError:
                break
            if not _alike(kept, like):
                continue
            taken = kept.data if _is_unused(kept) else None
            self._kept.append(kept)
            if taken is not None:
                return taken
        new = torch.empty_like(like, requires_grad=False)
        if len(self._kept) < _TENSORS:
            self._kept.append(new)
        # Another tensor on the same memory: its version does not count what later ones write.
        return new.data

    def __deepcopy__(self, memo: dict[int, Any]) -> Scratch:
        return Scratch()


def _alike(kept: Any, like: Any) -> bool:
    return (
        kept.shape == like.shape
        and kept.dtype is like.dtype
        and kept.device == like.device
        and kept.stride() == like.stride()
    )


def _is_unused(kept: Any) -> bool:
    return bool(torch._C._storage_Use_Count(kept.untyped_storage()._cdata) == _UNUSED)
