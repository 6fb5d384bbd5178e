"""Exact n:m masks inside JAX programmes: under ``jit``, ``vmap``, ``grad`` and ``shard_map``.

>>> import jax, nmflow.jax
>>> weights = jax.random.normal(jax.random.key(0), (64, 64))
>>> mask = jax.jit(lambda w: nmflow.jax.solve(w, 4, 8))(weights)
>>> int(mask.sum())
2048
"""

from nmflow.lax.versions import require_jax

require_jax("nmflow.jax")

from nmflow.jax.masking import apply_masks, sparse_params  # noqa: E402
from nmflow.jax.solving import solve  # noqa: E402
from nmflow.jax.sparsify import sparsify  # noqa: E402
from nmflow.jax.state import masks  # noqa: E402
from nmflow.jax.statistics import LayerStatistics, RefreshStatistics, statistics  # noqa: E402
from nmflow.training.policy import Refresh  # noqa: E402
from nmflow.training.rules import SRSTE, StraightThrough  # noqa: E402

__all__ = [
    "SRSTE",
    "LayerStatistics",
    "Refresh",
    "RefreshStatistics",
    "StraightThrough",
    "apply_masks",
    "masks",
    "solve",
    "sparse_params",
    "sparsify",
    "statistics",
]
