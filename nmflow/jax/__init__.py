"""Exact n:m masks inside JAX programmes: under ``jit``, ``vmap``, ``grad`` and ``shard_map``.

>>> import jax, nmflow.jax
>>> weights = jax.random.normal(jax.random.key(0), (64, 64))
>>> mask = jax.jit(lambda w: nmflow.jax.solve(w, 4, 8))(weights)
>>> int(mask.sum())
2048
"""

import nmflow.lax as _lax  # noqa: F401  (says so where JAX is missing, or too old)
from nmflow.jax.solving import solve

__all__ = ["solve"]
