"""The optax transformation: masks found, kept in the state, and obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nmflow.certify import certify
from nmflow.errors import NmflowError
from nmflow.jax.given import Masks, masks_given
from nmflow.jax.masking import keep
from nmflow.jax.paths import paths_of
from nmflow.jax.refreshing import Scores, scores_of, solve_all, sums_of
from nmflow.jax.schedule import Clock, Ramp, after_refresh, is_due, is_over, new_clock
from nmflow.jax.selecting import Selection, Weight
from nmflow.jax.sharding import sharded_as
from nmflow.jax.state import LastRefresh, SparsifyState, allowed_in, masks, states_in
from nmflow.problem.scores import ScoreName
from nmflow.proof.certificate import Certificate
from nmflow.training.policy import Refresh
from nmflow.training.report import Report
from nmflow.training.rules import SRSTE, StraightThrough


@dataclass(frozen=True)
class Plan:
    """What :func:`nmflow.jax.sparsify` was told, checked; None as policy freezes at once."""

    selection: Selection
    rule: StraightThrough
    policy: Refresh | None
    score: ScoreName
    scores: Scores
    masks: Masks
    keep_zeros: bool


class SparsifyTransformation(optax.GradientTransformationExtraArgs):
    """What :func:`nmflow.jax.sparsify` returns: an optax transformation that knows its masks.

    ``init`` and ``update`` are optax's; ``update`` needs the parameters. Both are pure, and may be
    under ``jit``.
    """

    plan: Plan

    def __new__(cls, tx: Any, plan: Plan) -> SparsifyTransformation:
        """A transformation around ``tx``."""
        work = _Work(optax.with_extra_args_support(tx), plan)
        made: SparsifyTransformation = super().__new__(cls, work.init, work.update)
        made.plan = plan
        return made

    def report(self, params: Any) -> Report:
        """A line for each parameter of two dimensions or more: sparsified, or skipped and why.

        Parameters
        ----------
        params : pytree
            Of arrays, or of what has their shape and dtype.

        Raises
        ------
        NmflowError
            If a glob matches nothing that can be masked, or nothing is left.
        """
        return self.plan.selection.choose(params)[1]

    def certify(self, params: Any, opt_state: Any) -> dict[str, Certificate]:
        """Proofs of the masks, for the parameters as they are now; on the host.

        Parameters
        ----------
        params : pytree
            As ``init`` was given. A mask is optimal for those of its last refresh: later ones have
            moved on, unless masks are frozen.
        opt_state : pytree
            With the state of this transformation anywhere in it.

        Returns
        -------
        dict of str to Certificate
            By path; what keeps n of every m is proved at the n that its refresh had. Masks that
            were never solved keep everything and are not in it.

        Raises
        ------
        NmflowError
            If there is no such state, or parameters are NaN or infinite.
        """
        weights, _ = self.plan.selection.choose(params)
        leaves = paths_of(params)[1]
        found = masks(opt_state)
        kept = np.concatenate([np.asarray(state.last.n) for state in states_in(opt_state)])
        n_of = dict(zip(found, kept.tolist(), strict=True))
        allowed = allowed_in(opt_state)
        given = scores_of(weights, [leaves[w.index] for w in weights], self.plan.scores)
        return {
            weight.path: certify(
                weight.layout.matrices(np.asarray(values)),
                weight.layout.matrices(np.asarray(found[weight.path])),
                n_of[weight.path],
                weight.pattern.m,
                pattern=weight.pattern.name,
                axes=weight.layout.matrix_axes(len(weight.shape)),
                score=self.plan.score,
                within=weight.layout.matrices(np.asarray(may)) if may is not None else None,
                at_most=may is not None,
            )
            for weight, values in zip(weights, given, strict=True)
            for may in [allowed.get(weight.path)]
            if n_of[weight.path] < weight.pattern.m
        }


class _Work:
    """``init`` and ``update``."""

    def __init__(self, tx: Any, plan: Plan) -> None:
        self._tx, self._plan = tx, plan
        # Without a policy masks are found once, as by one that never comes to its first refresh.
        self._policy = plan.policy or Refresh()

    def init(self, params: Any) -> SparsifyState:
        weights, _ = self._plan.selection.choose(params)
        leaves, structure = jax.tree.flatten(params)
        values = [leaves[weight.index] for weight in weights]
        _check_finite(weights, values)
        clock = new_clock(self._policy)
        allowed = [value != 0 if self._plan.keep_zeros else None for value in values]
        most = [
            sharded_as(jnp.ones_like(value, bool), value) if may is None else jnp.array(may)
            for value, may in zip(values, allowed, strict=True)
        ]
        nothing = LastRefresh(
            jnp.zeros((), jnp.int32),
            jnp.zeros((), jnp.int32),
            jnp.array([weight.pattern.m for weight in weights], jnp.int32),
            jnp.zeros(len(weights), jnp.int32),
            *(jnp.zeros(len(weights), jnp.float32) for _ in range(2)),
        )
        masks, last = most, nothing
        if self._policy.begin == 0 and weights:
            brought = masks_given(self._plan.masks, weights, values)
            masks, last = self._solve(weights, values, most, clock.step, nothing, allowed, brought)
        tree = _tree(structure, weights, masks)
        kept_zeros = _tree(structure, weights, allowed) if self._plan.keep_zeros else None
        return SparsifyState(clock, tree, last, self._tx.init(params), kept_zeros)

    def update(
        self, updates: Any, state: SparsifyState, params: Any = None, **extra: Any
    ) -> tuple[Any, SparsifyState]:
        if params is None:
            raise NmflowError(
                "masks are found for the parameters: call update(grads, state, params)"
            )
        weights, _ = self._plan.selection.choose(params)
        leaves, structure = jax.tree.flatten(params)
        values = [leaves[weight.index] for weight in weights]
        old = jax.tree.leaves(state.masks)
        allowed = jax.tree.leaves(state.allowed) or [None] * len(weights)
        frozen = is_over(self._plan.policy, state.clock)
        updates = self._changed(
            updates, structure, weights, lambda k, g: self._gradient(g, values[k], old[k], frozen)
        )
        updates, inner = self._tx.update(updates, state.inner_state, params, **extra)
        clock = state.clock._replace(step=state.clock.step + 1)
        updates = self._changed(
            updates, structure, weights, lambda _, u: rounded(u, clock.step < 0)
        )
        steps = structure.flatten_up_to(updates)
        given = [steps[weight.index] for weight in weights]
        new, clock, last = self._refreshed(
            weights, values, given, old, clock, state.last, frozen, allowed
        )
        over = is_over(self._plan.policy, clock)
        updates = self._changed(
            updates, structure, weights, lambda k, u: _zeroing(u, values[k], new[k], over)
        )
        tree = _tree(structure, weights, new)
        return updates, SparsifyState(clock, tree, last, inner, state.allowed)

    def _changed(self, tree: Any, structure: Any, weights: Sequence[Weight], change: Any) -> Any:
        """A tree with the leaves of the masked parameters changed."""
        leaves = structure.flatten_up_to(tree)
        for k, weight in enumerate(weights):
            leaves[weight.index] = change(k, leaves[weight.index])
        return structure.unflatten(leaves)

    def _gradient(self, gradient: Any, value: Any, mask: Any, frozen: Any) -> Any:
        """What the optimizer sees."""
        learning = gradient
        if isinstance(self._plan.rule, SRSTE) and frozen is not True:
            pull = jnp.asarray(self._plan.rule.decay, value.dtype) * keep(value, ~mask)
            learning = gradient + pull.astype(gradient.dtype)
        return jnp.where(frozen, keep(gradient, mask), learning)

    def _refreshed(
        self,
        weights: Sequence[Weight],
        values: Sequence[Any],
        steps: Sequence[Any],
        old: list[Any],
        clock: Clock,
        last: LastRefresh,
        frozen: Any,
        allowed: Sequence[Any],
    ) -> tuple[list[Any], Clock, LastRefresh]:
        """Masks, clock and what is known of the last refresh, after a step."""
        if frozen is True or not weights:
            return old, clock, last
        total = float(sum(weight.size for weight in weights))

        def solve() -> tuple[list[Any], Clock, LastRefresh]:
            moved = optax.apply_updates(list(values), list(steps))
            found, now = self._solve(weights, moved, old, clock.step, last, allowed)
            flip_rate = now.sad.astype(jnp.float32).sum() / total
            return found, after_refresh(self._policy, clock, flip_rate), now

        due = is_due(clock) & jnp.logical_not(frozen)
        changed: tuple[list[Any], Clock, LastRefresh] = jax.lax.cond(
            due, solve, lambda: (old, clock, last)
        )
        return changed

    def _solve(
        self,
        weights: Sequence[Weight],
        values: Sequence[Any],
        old: Sequence[Any],
        step: Any,
        last: LastRefresh,
        allowed: Sequence[Any],
        brought: Sequence[Any] | None = None,
    ) -> tuple[list[Any], LastRefresh]:
        score = self._plan.score
        ramps = {pattern: Ramp(self._policy, pattern) for pattern in _patterns(weights)}
        given = scores_of(weights, values, self._plan.scores)
        found, kept = solve_all(weights, given, old, ramps, step, score, allowed, brought)
        flips = [jnp.count_nonzero(a != b) for a, b in zip(found, old, strict=True)]
        sums = [sums_of(g, mask, score) for g, mask in zip(given, found, strict=True)]
        now = LastRefresh(
            last.refreshes + 1,
            # Of its own: a buffer that is in a state twice can't be donated.
            jnp.array(step),
            kept,
            jnp.stack(flips).astype(jnp.int32),
            *(jnp.stack(each) for each in zip(*sums, strict=True)),
        )
        return found, now


def _check_finite(weights: Sequence[Weight], values: Sequence[Any]) -> None:
    """Raise for NaN and infinity where there are values to look at."""
    for weight, value in zip(weights, values, strict=True):
        here = isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
        if here and not bool(jnp.isfinite(value).all()):
            raise NmflowError(f"{weight.path} has entries that are NaN or infinite")


def _patterns(weights: Sequence[Weight]) -> list[Any]:
    return list(dict.fromkeys(weight.pattern for weight in weights))


def _tree(structure: Any, weights: Sequence[Weight], masks: Sequence[Any]) -> Any:
    leaves: list[Any] = [None] * structure.num_leaves
    for weight, mask in zip(weights, masks, strict=True):
        leaves[weight.index] = mask
    return structure.unflatten(leaves)


def rounded(update: Any, never: Any) -> Any:
    """The update itself, rounded before anything is added to it.

    Compilers may round a product and the sum that it goes into once for both. Where they do so
    in the caller's programme and not here, masks would be those of parameters that are an ulp off.
    An operation on bits in between leaves nothing to fuse.

    Parameters
    ----------
    update : Array
    never : Array
        False, which the compiler can't know.
    """
    unsigned = jnp.dtype(f"uint{8 * update.dtype.itemsize}")
    bits = jax.lax.bitcast_convert_type(update, unsigned) ^ never.astype(unsigned)
    return jax.lax.bitcast_convert_type(bits, update.dtype)


def _zeroing(update: Any, value: Any, mask: Any, over: Any) -> Any:
    """The update after which a frozen parameter is exactly 0 where it is pruned."""
    return jnp.where(over & ~mask, -value.astype(update.dtype), update)
