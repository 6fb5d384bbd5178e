"""What the last refresh changed, read from the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from nmflow.jax.paths import paths_of
from nmflow.jax.state import states_in


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One parameter at its last refresh; scalars, traced under ``jit``.

    Attributes
    ----------
    n : Array
        What its mask keeps of every m: during a ramp more than it will in the end; int32.
    entries : int
        Of the parameter.
    sad : Array
        Sparse architecture divergence (Zhou et al., ICLR 2021): entries of the mask that changed;
        at the first refresh, from a mask that keeps everything; int32.
    kept_score, score : Array
        Sum of the scores kept, and of all; float32.
    """

    n: Any
    entries: int
    sad: Any
    kept_score: Any
    score: Any

    @property
    def flip_rate(self) -> Any:
        """SAD as a share of all entries."""
        return self.sad / self.entries

    @property
    def kept_share(self) -> Any:
        """Kept score as a share of all; NaN where there is none."""
        return self.kept_score / self.score


@dataclass(frozen=True, slots=True)
class RefreshStatistics:
    """The last refresh; scalars, traced under ``jit``.

    Attributes
    ----------
    refreshes : Array
        How many there were, that at step 0 among them; int32.
    step : Array
        Optimizer steps before the last; int32.
    layers : mapping of str to LayerStatistics
        By the paths of the parameters.
    """

    refreshes: Any
    step: Any
    layers: Mapping[str, LayerStatistics]

    @property
    def sad(self) -> Any:
        """The layers' mean."""
        return sum(layer.sad for layer in self.layers.values()) / len(self.layers)

    @property
    def flip_rate(self) -> Any:
        """Changed entries of all layers as a share of all entries."""
        changed = sum(layer.sad.astype(jnp.float32) for layer in self.layers.values())
        return changed / sum(layer.entries for layer in self.layers.values())

    @property
    def kept_score(self) -> Any:
        """The layers' sum."""
        return sum(layer.kept_score for layer in self.layers.values())

    @property
    def kept_share(self) -> Any:
        """Kept score as a share of all; NaN where there is none."""
        return self.kept_score / sum(layer.score for layer in self.layers.values())

    def __str__(self) -> str:
        return (
            f"step {int(self.step)}: refresh {int(self.refreshes)}, flip rate"
            f" {float(self.flip_rate):.3g}, SAD {float(self.sad):.4g}, kept"
            f" {float(self.kept_share):.2%} of the score"
        )


def statistics(opt_state: Any) -> RefreshStatistics:
    """What the last refresh did; under ``jit`` too.

    Parameters
    ----------
    opt_state : pytree
        With the state of :func:`sparsify` anywhere in it; of several, as in
        ``optax.multi_transform``, all layers, and the counts of that with the last refresh.

    Returns
    -------
    RefreshStatistics

    Raises
    ------
    NmflowError
        If there is no such state.
    """
    states = states_in(opt_state)
    layers = {}
    for state in states:
        names, masks, _ = paths_of(state.masks)
        rows = state.last.n, state.last.sad, state.last.kept_score, state.last.score
        for k, (name, mask) in enumerate(zip(names, masks, strict=True)):
            n, sad, kept, score = (jnp.asarray(row)[k] for row in rows)
            layers[name] = LayerStatistics(n, mask.size, sad, kept, score)
    refreshes, step = (
        jnp.stack([jnp.asarray(each) for each in column]).max()
        for column in zip(
            *((state.last.refreshes, state.last.step) for state in states), strict=True
        )
    )
    return RefreshStatistics(refreshes, step, layers)
