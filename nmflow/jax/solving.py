"""The mask of JAX weights, found where they lie."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nmflow
from nmflow.problem.pattern import Pattern, PatternName
from nmflow.problem.scores import ScoreName


def solve(
    weights: Any,
    n: int,
    m: int,
    *,
    pattern: PatternName = "transposable",
    axes: tuple[int, int] = (-2, -1),
    score: ScoreName = "abs",
) -> Any:
    """The mask of :func:`nmflow.solve` for a JAX array, traced or not."""
    wanted = Pattern(n, m, pattern)

    def on_host(values: Any) -> Any:
        return nmflow.solve(
            np.asarray(values), wanted.n, wanted.m, pattern=pattern, axes=axes, score=score
        )

    weights = jax.lax.stop_gradient(weights)
    shape = jax.ShapeDtypeStruct(weights.shape, jnp.bool_)
    return jax.pure_callback(on_host, shape, weights, vmap_method="sequential")
