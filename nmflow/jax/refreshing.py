"""All masks of a training solved at once, and what that changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from nmflow.errors import NmflowError
from nmflow.jax.masking import keep
from nmflow.jax.schedule import Ramp
from nmflow.jax.selecting import Weight
from nmflow.jax.sharding import sharded_as, sharding_of
from nmflow.jax.solving import solve
from nmflow.models import Layout
from nmflow.problem.pattern import Pattern
from nmflow.problem.scores import ScoreName

Scores = Callable[[str, Any], Any] | None


def scores_of(weights: Sequence[Weight], values: Sequence[Any], scores: Scores) -> list[Any]:
    """What masks are solved for: the parameters, or the user's scores of them.

    Raises
    ------
    NmflowError
        If scores have another shape than their parameter, or are no floats.
    """
    if scores is None:
        return list(values)
    found = []
    for weight, value in zip(weights, values, strict=True):
        given = jnp.asarray(scores(weight.path, value))
        if given.shape != weight.shape or not jnp.issubdtype(given.dtype, jnp.floating):
            raise NmflowError(
                f"scores({weight.path!r}, weight) must be floats of shape {weight.shape}, got"
                f" {given.dtype} of shape {given.shape}"
            )
        found.append(given)
    return found


def solve_all(
    weights: Sequence[Weight],
    given: Sequence[Any],
    old: Sequence[Any],
    ramps: Mapping[Pattern, Ramp],
    step: Any,
    score: ScoreName,
) -> tuple[list[Any], Any]:
    """The masks of all parameters, and what each keeps of every m.

    Parameters
    ----------
    weights : sequence of Weight
    given : sequence of Array
        What masks are solved for.
    old : sequence of Array
        The masks that stay where what is given is not finite.
    ramps : mapping of Pattern to Ramp
    step : Array or int
    score : {"abs", "square", "raw"}

    Returns
    -------
    list of Array, Array
        Bool, of the parameters' shapes; int32, (masks,).
    """
    found: list[Any] = [None] * len(weights)
    for pattern, ramp in ramps.items():
        members = [k for k, weight in enumerate(weights) if weight.pattern == pattern]
        finite = [jnp.isfinite(given[k]).all() for k in members]
        # No loop of a solver is to run on NaN.
        safe = [keep(given[k], ok) for k, ok in zip(members, finite, strict=True)]
        stages = [_Stage([weights[k] for k in members], n, score) for n in ramp.kept]
        choice = ramp.choice(step)
        new = stages[0](safe) if len(stages) == 1 else jax.lax.switch(choice, stages, safe)
        for k, ok, mask in zip(members, finite, new, strict=True):
            found[k] = jnp.where(ok, sharded_as(mask, old[k]), old[k])
    kept = [_kept(ramps[weight.pattern], step) for weight in weights]
    return found, jnp.stack(kept)


def _kept(ramp: Ramp, step: Any) -> Any:
    return jnp.asarray(ramp.kept, jnp.int32)[ramp.choice(step)]


class _Stage:
    """Masks of parameters of one pattern, n of every m.

    Parameters of one shape are stacked and solved by one call: what takes long to compile is then
    compiled for each shape, not for each layer.
    """

    def __init__(self, weights: Sequence[Weight], n: int, score: ScoreName) -> None:
        self.weights, self.n, self.score = weights, n, score

    def __call__(self, given: Sequence[Any]) -> list[Any]:
        """Masks of what is given."""
        found: list[Any] = [None] * len(given)
        alike: dict[Any, list[int]] = {}
        for k, (weight, values) in enumerate(zip(self.weights, given, strict=True)):
            key = (weight.shape, values.dtype, weight.layout, sharding_of(values))
            alike.setdefault(key, []).append(k)
        for members in alike.values():
            masks = self._solve(self.weights[members[0]], [given[k] for k in members])
            for k, mask in zip(members, masks, strict=True):
                found[k] = mask
        return found

    def _solve(self, weight: Weight, given: Sequence[Any]) -> Sequence[Any]:
        pattern, layout = weight.pattern, weight.layout
        if self.n == pattern.m:
            return [jnp.ones(weight.shape, bool)] * len(given)
        stacked = jnp.stack(given)
        out_axis, in_axis = (axis + 1 for axis in layout.axes)
        layout = Layout((out_axis, in_axis), layout.groups)
        mask = solve(
            layout.matrices(stacked),
            self.n,
            pattern.m,
            pattern=pattern.name,
            axes=layout.matrix_axes(stacked.ndim),
            score=self.score,
        )
        return tuple(layout.tensor(mask))


def sums_of(given: Any, mask: Any, score: ScoreName) -> tuple[Any, Any]:
    """The sum of the scores that a mask keeps, and of all; float32."""
    values = given.astype(jnp.float32)
    if score != "raw":
        values = jnp.abs(values) if score == "abs" else values * values
    return keep(values, mask).sum(), values.sum()
