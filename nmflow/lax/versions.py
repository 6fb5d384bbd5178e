"""Whether JAX is there, and new enough."""

from __future__ import annotations

import importlib
import re

from nmflow.errors import MissingExtraError, NmflowError

OLDEST = (0, 7, 0)
"""A release that was tried, with ``jax.shard_map`` and with shardings in types."""


def require_jax(feature: str) -> None:
    """Raise unless JAX can be imported and is not older than :data:`OLDEST`."""
    try:
        found = importlib.import_module("jax").__version__
    except ImportError:
        raise MissingExtraError(feature, "jax") from None
    if tuple(int(part) for part in re.findall(r"\d+", found)[:3]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise NmflowError(
            f"{feature} needs JAX {oldest} or later, and {found} is installed:"
            " pip install --upgrade 'nmflow[jax]'"
        )
