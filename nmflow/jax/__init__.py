"""Exact n:m masks inside JAX programmes: under ``jit``, ``vmap``, ``grad`` and ``shard_map``.

>>> import jax, nmflow.jax
>>> weights = jax.random.normal(jax.random.key(0), (64, 64))
>>> mask = jax.jit(lambda w: nmflow.jax.solve(w, 4, 8))(weights)
>>> int(mask.sum())
2048
"""

from nmflow.lax.versions import require_jax

require_jax("nmflow.jax")

from nmflow.jax.solving import solve  # noqa: E402

__all__ = ["solve"]
