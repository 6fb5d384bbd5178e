"""The byte-level transformer of ``benchmarks.training``, in Flax Linen."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

ROTARY_BASE = 1000.0


class Layer(nn.Module):
    """Attention and a two-layer network, each after a norm and with a way round it."""

    width: int
    heads: int
    layers: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Of the shape (pieces, places, width)."""

        def dense(size: int, name: str, share: float = 1.0) -> nn.Dense:
            start = nn.initializers.normal(0.02 * share)
            return nn.Dense(size, use_bias=False, kernel_init=start, name=name)

        small = 1 / math.sqrt(2 * self.layers)
        joint = dense(3 * self.width, "projections")(nn.LayerNorm()(x))
        split = joint.reshape(*x.shape[:2], 3, self.heads, -1)
        queries, keys, values = (split[:, :, k] for k in range(3))
        seen = jax.nn.dot_product_attention(rotated(queries), rotated(keys), values, is_causal=True)
        x = x + dense(self.width, "output", small)(seen.reshape(x.shape))
        hidden = nn.gelu(dense(4 * self.width, "up")(nn.LayerNorm()(x)), approximate=False)
        return x + dense(self.width, "down", small)(hidden)


def rotated(x: jax.Array) -> jax.Array:
    """Queries or keys turned by their places, so that attention sees distances."""
    places, size = x.shape[1], x.shape[-1]
    rates = ROTARY_BASE ** (-jnp.arange(size // 2) / (size // 2))
    angles = (jnp.arange(places)[:, None] * rates)[:, None, :]
    left, right = jnp.split(x, 2, -1)
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate((left * cosine - right * sine, left * sine + right * cosine), -1)


class Transformer(nn.Module):
    """A byte-level transformer that predicts the next byte."""

    width: int = 64
    layers: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scores of the next byte at each place."""
        start = nn.initializers.normal(0.02)
        x = nn.Embed(256, self.width, embedding_init=start, name="bytes")(x)
        for k in range(self.layers):
            x = Layer(self.width, self.heads, self.layers, name=f"layers_{k}")(x)
        head = nn.Dense(256, use_bias=False, kernel_init=start, name="head")
        return head(nn.LayerNorm(name="norm")(x))
