"""Weights that FSDP2 cut into shards: whole for solving, and what is local of a mask."""

from __future__ import annotations

import sys
from typing import Any


def is_sharded(tensor: Any) -> bool:
    """Whether the tensor is a DTensor, of which this process may hold a part alone."""
    # None exists unless its module was imported, which takes long.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Any) -> Any:
    """The full tensor; of a sharded one all processes must ask together."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def local(tensor: Any) -> Any:
    """The part that this process holds."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def local_part(tensor: Any, like: Any) -> Any:
    """The part of a whole tensor that lies where the local part of ``like`` does."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # Every process has it all: nothing is sent.
    cut = distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return cut.to_local()
