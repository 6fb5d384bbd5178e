"""All masks of a training solved at once, and what that changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nmflow.errors import NmflowError
from nmflow.jax.batching import as_batch, from_batch
from nmflow.jax.masking import keep
from nmflow.jax.schedule import Ramp
from nmflow.jax.selecting import Weight
from nmflow.jax.sharding import is_spread, sharded_as
from nmflow.jax.solving import solve
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
    allowed: Sequence[Any],
    brought: Sequence[Any] | None = None,
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
    allowed : sequence of Array or None
        What may be kept; None: all.
    brought : sequence of Array or None, optional
        Masks of the user's, which stand; None where one is to be solved.

    Returns
    -------
    list of Array, Array
        Bool, of the parameters' shapes; int32, (masks,).
    """
    standing = [None] * len(weights) if brought is None else brought
    found = [m if m is None else sharded_as(m, o) for m, o in zip(standing, old, strict=True)]
    unsolved = [k for k, mask in enumerate(standing) if mask is None]
    for pattern, ramp in ramps.items():
        members = [k for k in unsolved if weights[k].pattern == pattern]
        if not members:
            continue
        finite = [jnp.isfinite(given[k]).all() for k in members]
        # No loop of a solver is to run on NaN.
        safe = [keep(given[k], ok) for k, ok in zip(members, finite, strict=True)]
        stages = [_Stage([weights[k] for k in members], n, score) for n in ramp.kept]
        choice, may = ramp.choice(step), [allowed[k] for k in members]
        new = (
            stages[0](safe, may) if len(stages) == 1 else jax.lax.switch(choice, stages, safe, may)
        )
        for k, ok, mask in zip(members, finite, new, strict=True):
            found[k] = jnp.where(ok, sharded_as(mask, old[k]), old[k])
    kept = [
        _kept(ramps[weight.pattern], step) if mask is None else jnp.int32(weight.pattern.n)
        for weight, mask in zip(weights, standing, strict=True)
    ]
    return found, jnp.stack(kept)


def _kept(ramp: Ramp, step: Any) -> Any:
    return jnp.asarray(ramp.kept, jnp.int32)[ramp.choice(step)]


class _Stage:
    """Masks of parameters of one pattern, n of every m.

    Solvers take seconds to compile, and as long for many tiles as for few. So all full tiles are
    solved by one call, whatever matrices they are from; of others those of one shape are.
    """

    def __init__(self, weights: Sequence[Weight], n: int, score: ScoreName) -> None:
        self.weights, self.score = weights, score
        self.pattern = replace(weights[0].pattern, n=n)

    def __call__(self, given: Sequence[Any], allowed: Sequence[Any]) -> list[Any]:
        """Masks of what is given, within what is allowed."""
        if self.pattern.n == self.pattern.m:
            return [
                jnp.ones_like(values, bool) if may is None else may
                for values, may in zip(given, allowed, strict=True)
            ]
        found: list[Any] = [None] * len(given)
        batches: dict[Any, list[tuple[int, Any]]] = {}
        for k, (weight, *pair) in enumerate(zip(self.weights, given, allowed, strict=True)):
            if is_spread(pair[0]):
                found[k] = self._solve_in_place(weight, *pair)
            else:
                batch, may = jax.tree.map(
                    lambda part: as_batch(part, weight.layout, self.pattern),  # noqa: B023
                    tuple(pair),
                )
                batches.setdefault((batch.shape[1:], batch.dtype), []).append((k, (batch, may)))
        for members in batches.values():
            parts = [part for _, part in members]
            masks = self._solve(*jax.tree.map(lambda *each: jnp.concatenate(each), *parts))
            ends = np.cumsum([len(batch) for batch, _ in parts])[:-1]
            for (k, _), mask in zip(members, jnp.split(masks, ends), strict=True):
                weight = self.weights[k]
                found[k] = from_batch(mask, weight.shape, weight.layout, self.pattern)
        return found

    def _solve_in_place(self, weight: Weight, values: Any, allowed: Any) -> Any:
        """Where the solver is to know how the parameter is shared out."""
        layout = weight.layout
        matrices, may = jax.tree.map(layout.matrices, (values, allowed))
        return layout.tensor(self._solve(matrices, may, layout.matrix_axes(values.ndim)))

    def _solve(self, values: Any, allowed: Any, axes: tuple[int, int] = (-2, -1)) -> Any:
        n, m, name = self.pattern.n, self.pattern.m, self.pattern.name
        return solve(values, n, m, pattern=name, axes=axes, score=self.score, within=allowed)


def sums_of(given: Any, mask: Any, score: ScoreName) -> tuple[Any, Any]:
    """The sum of the scores that a mask keeps, and of all; float32."""
    values = given.astype(jnp.float32)
    if score != "raw":
        values = jnp.abs(values) if score == "abs" else values * values
    return keep(values, mask).sum(), values.sum()
