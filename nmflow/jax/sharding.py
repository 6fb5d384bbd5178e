"""Masks that lie where their parameters do."""

from __future__ import annotations

from typing import Any

import jax
from jax.experimental.shard_alike import shard_alike


def is_spread(value: Any) -> bool:
    """Whether an array is known to be shared out over devices.

    Under ``jit`` its type tells that on a mesh with explicit axes alone.
    """
    if isinstance(value, jax.core.Tracer):
        return any(axis is not None for axis in _spec_of(value))
    sharding = getattr(value, "sharding", None)
    return sharding is not None and len(sharding.device_set) > 1


def _spec_of(value: Any) -> Any:
    """What a traced array's type says of its axes."""
    return getattr(getattr(value.aval, "sharding", None), "spec", ())


def sharded_as(mask: Any, other: Any) -> Any:
    """The mask, shared out over devices as another array of its shape is.

    Under ``jit``, where the sharding of an array is the compiler's to say, the compiler is told to
    take the same for both.
    """
    if isinstance(other, jax.core.Tracer):
        if is_spread(other):
            return jax.sharding.reshard(mask, _spec_of(other))
        return shard_alike(mask, other)[0]
    if not is_spread(other) or isinstance(mask, jax.core.Tracer):
        return mask
    return jax.device_put(mask, other.sharding)
