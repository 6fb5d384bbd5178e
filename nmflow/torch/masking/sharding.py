"""Weights that a process does not hold whole: sharded, offloaded, or freed under their tensor."""

from __future__ import annotations

import sys
from typing import Any

from nmflow.errors import NmflowError


def is_sharded(tensor: Any) -> bool:
    """Whether the tensor is a DTensor, of which this process may hold a part alone."""
    # None exists unless its module was imported, which takes long.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Any) -> Any:
    """The full tensor; of a sharded one all processes must ask together.

    Raises
    ------
    NmflowError
        If its memory was freed, as FSDP1 does between forward passes: reading it would crash.
    """
    if is_sharded(tensor):
        return tensor.full_tensor()
    needed = tensor.numel() * tensor.element_size()
    if not tensor.is_meta and tensor.untyped_storage().nbytes() < needed:
        raise NmflowError(
            "the memory of this weight was freed, as FullyShardedDataParallel (FSDP1) does between"
            " forward passes: use FSDP2, torch.distributed.fsdp.fully_shard after sparsify, or"
            " DistributedDataParallel"
        )
    return tensor


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
