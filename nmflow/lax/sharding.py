"""Arrays that lie on several devices: each solves its own tiles, and none sends any."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern


def sharding_of(weights: Any) -> NamedSharding | None:
    """How an array is cut, as far as that is known: traced values know of explicit axes alone."""
    if isinstance(weights, jax.core.Tracer):
        sharding = getattr(jax.typeof(weights), "sharding", None)
    else:
        sharding = weights.sharding
    if not isinstance(sharding, NamedSharding) or not any(
        part is not None for part in sharding.spec
    ):
        return None
    return sharding


def check_whole(
    sharding: NamedSharding,
    shape: tuple[int, ...],
    axes: tuple[int, int],
    pattern: Pattern,
    what: str,
) -> None:
    """Raise where a shard's border goes through a tile, or through a group."""
    for axis, size, across in zip(axes, _sizes(shape, axes), ("rows", "columns"), strict=True):
        shards = _shards(sharding, axis)
        if shards == 1 or pattern.name == across:
            continue
        if pattern.name == "unstructured":
            raise NmflowError(
                f"{what}: axis {axis} is cut into {shards} shards, and an unstructured mask is one"
                " of whole matrices; reshard the weights along batch axes, or gather them"
            )
        if size // shards % pattern.m:
            raise NmflowError(
                f"{what}: axis {axis} is cut into {shards} shards of {size // shards}, through"
                f" groups of {pattern.m}; a shard must be a multiple of {pattern.m} long: reshard"
                " the weights, or gather them"
            )


def _sizes(shape: tuple[int, ...], axes: tuple[int, int]) -> tuple[int, int]:
    return shape[axes[0]], shape[axes[1]]


def _shards(sharding: NamedSharding, axis: int) -> int:
    """Into how many parts an axis is cut."""
    spec = tuple(sharding.spec)
    names = spec[axis] if axis < len(spec) else None
    if names is None:
        return 1
    every = names if isinstance(names, tuple) else (names,)
    return math.prod(sharding.mesh.shape[name] for name in every)


def over_shards(local: Callable[..., tuple[Any, Any]], sharding: NamedSharding) -> Any:
    """A function of whole arrays from one of shards, to a mask and a flag, which all must have."""
    spec = sharding.spec

    def one(*shards: Any) -> tuple[Any, Any]:
        mask, flag = local(*shards)
        return mask, flag.reshape((1,) * mask.ndim)

    def whole(*arrays: Any) -> tuple[Any, Any]:
        given = (spec,) * len(arrays)
        parts = jax.shard_map(one, mesh=sharding.mesh, in_specs=given, out_specs=(spec, spec))
        mask, flags = parts(*arrays)
        return mask, flags.all()

    return whole
