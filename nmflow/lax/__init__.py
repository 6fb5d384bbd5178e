"""Exact masks as programmes of ``jax.lax``, on whatever device XLA compiles for."""
