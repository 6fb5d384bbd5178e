"""Exact n:m masks inside JAX programmes: under ``jit``, ``vmap``, ``grad`` and ``shard_map``.

``solve`` finds one; ``sparsify`` lets an optax optimizer keep those of all parameters.

>>> import jax, nmflow.jax
>>> weights = jax.random.normal(jax.random.key(0), (64, 64))
>>> mask = jax.jit(lambda w: nmflow.jax.solve(w, 4, 8))(weights)
>>> int(mask.sum())
2048
"""

import nmflow.lax as _lax  # noqa: F401  (says so where JAX is missing, or too old)
from nmflow.jax.masking import apply_masks, sparse_params
from nmflow.jax.solving import solve
from nmflow.jax.sparsify import sparsify
from nmflow.jax.state import freeze, masks, unfreeze
from nmflow.jax.statistics import LayerStatistics, RefreshStatistics, statistics
from nmflow.training.policy import Refresh
from nmflow.training.report import LayerReport, Report
from nmflow.training.rules import SRSTE, StraightThrough

__all__ = [
    "SRSTE",
    "LayerReport",
    "LayerStatistics",
    "Refresh",
    "RefreshStatistics",
    "Report",
    "StraightThrough",
    "apply_masks",
    "freeze",
    "masks",
    "solve",
    "sparse_params",
    "sparsify",
    "statistics",
    "unfreeze",
]
