"""Masks that lie where their parameters do."""

from __future__ import annotations

from typing import Any

import jax
from jax.experimental.shard_alike import shard_alike


def sharding_of(value: Any) -> Any:
    """What is known of how an array is shared out over devices; hashable.

    Under ``jit`` that is the part that its type tells, on a mesh with explicit axes.
    """
    if isinstance(value, jax.core.Tracer):
        return getattr(value.aval, "sharding", None)
    return getattr(value, "sharding", None)


def sharded_as(mask: Any, other: Any) -> Any:
    """The mask, shared out over devices as another array of its shape is.

    Under ``jit``, where the sharding of an array is the compiler's to say, the compiler is told to
    take the same for both.
    """
    sharding = sharding_of(other)
    if isinstance(other, jax.core.Tracer):
        spec = getattr(sharding, "spec", ())
        if any(axis is not None for axis in spec):
            return jax.sharding.reshard(mask, spec)
        return shard_alike(mask, other)[0]
    one = sharding is None or len(sharding.device_set) == 1
    return mask if one or isinstance(mask, jax.core.Tracer) else jax.device_put(mask, sharding)
