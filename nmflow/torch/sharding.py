"""Weights that FSDP2 cut into shards: whole for solving, masks cut alike for what is local."""

from __future__ import annotations

from typing import Any

from torch.distributed import is_available

if is_available():
    from torch.distributed.tensor import DTensor, distribute_tensor


def is_sharded(tensor: Any) -> bool:
    """Whether this process holds a shard of the tensor alone."""
    return is_available() and isinstance(tensor, DTensor)


def whole(tensor: Any) -> Any:
    """The full tensor; of a sharded one all processes must ask together."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def local(tensor: Any) -> Any:
    """The part that this process holds."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def local_part(whole_tensor: Any, like: Any) -> Any:
    """The part of a tensor that lies where the local shard of ``like`` does."""
    if not is_sharded(like):
        return whole_tensor
    # Every process has it all: nothing is sent.
    cut = distribute_tensor(whole_tensor, like.device_mesh, like.placements, src_data_rank=None)
    return cut.to_local()
