"""Masks that lie where their parameters do."""

from __future__ import annotations

from typing import Any

import jax
from jax.experimental.shard_alike import shard_alike


def sharded_as(mask: Any, value: Any) -> Any:
    """The mask, shared out over devices as the parameter is.

    Under ``jit``, where the sharding of an array is the compiler's to say, the compiler is told to
    take the same for both.
    """
    if isinstance(value, jax.core.Tracer):
        return shard_alike(mask, value)[0]
    sharding = getattr(value, "sharding", None)
    if sharding is None or len(sharding.device_set) == 1 or isinstance(mask, jax.core.Tracer):
        return mask
    return jax.device_put(mask, sharding)
