"""One run: a seed, masks or none, and what came out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nmflow.jax
from benchmarks.jax_training.model import Transformer
from benchmarks.training.stdlib import BATCH, CONTEXT, Stdlib

# Steps that are compiled as one programme.
CHUNK = 40
# Points of a curve that are kept.
POINTS = 40


@dataclass(frozen=True)
class Run:
    """What masks a run has, if any.

    Attributes
    ----------
    name : str
    n, m : int
        Both 0: dense.
    pull : float
        SR-STE's decay; 0: straight-through.
    every : int
        Optimizer steps between refreshes; 0: the masks of the first day stay.
    begin, ramp, until : float
        Shares of the training: how long it is dense, how long n is lowered from m, and when masks
        are found for the last time.
    """

    name: str
    n: int = 0
    m: int = 0
    pull: float = 0.0
    every: int = 40
    begin: float = 0.0
    ramp: float = 0.0
    until: float = 1.0

    def refresh(self, steps: int) -> nmflow.jax.Refresh | None:
        """When masks are found in a training of so many steps."""
        if not self.every:
            return None
        begin, ramp, until = (round(share * steps) for share in (self.begin, self.ramp, self.until))
        return nmflow.jax.Refresh(self.every, begin, ramp, "cubic", until)

    @property
    def rule(self) -> nmflow.jax.StraightThrough:
        """What pruned entries learn."""
        return nmflow.jax.SRSTE(self.pull) if self.pull else nmflow.jax.StraightThrough()


@dataclass(frozen=True)
class Setting:
    """What all runs have in common."""

    width: int = 64
    layers: int = 2
    steps: int = 2000
    rate: float = 3e-3
    decay: float = 0.1


DENSE = Run("dense")
FRESH = Run("8:16 STE, every step", 8, 16, every=1)
RUNS = (DENSE, Run("8:16 STE", 8, 16), FRESH)
RECIPES = (
    DENSE,
    FRESH,
    Run("dense 20 %, ramp 40 %, frozen at 75 %", 8, 16, every=10, begin=0.2, ramp=0.4, until=0.75),
)


class Training:
    """A training that can be gone on with.

    Attributes
    ----------
    programme : Programme
    params, state : pytree
    """

    def __init__(self, run: Run, seed: int, setting: Setting) -> None:
        self.programme = Programme.of(run, setting)
        self.params, self.state = self.programme.begin(jax.random.key(seed))

    def go(self, pieces: np.ndarray) -> jax.Array:
        """Train a step on each of (steps, batch, context + 1) bytes; the losses."""
        pieces = jnp.asarray(pieces)
        self.params, self.state, losses = self.programme.chunk(self.params, self.state, pieces)
        return losses

    def evaluated(self) -> Any:
        """The parameters to evaluate."""
        if not self.programme.run.m:
            return self.params
        return nmflow.jax.sparse_params(self.params, self.state)


class Programme:
    """What is compiled for all seeds of a run.

    Attributes
    ----------
    begin : callable
        A key -> parameters and the optimizer's state.
    chunk : callable
        Parameters, state and (steps, batch, context + 1) bytes -> those after, and losses.
    """

    def __init__(self, run: Run, setting: Setting) -> None:
        self.run, self.setting = run, setting
        self.model, self.tx = Transformer(setting.width, setting.layers), optimizer(run, setting)
        self.begin = jax.jit(self._begin)
        self.chunk = jax.jit(self._chunk, donate_argnums=(0, 1))

    @staticmethod
    @cache
    def of(run: Run, setting: Setting) -> Programme:
        """The programme of a run."""
        return Programme(run, setting)

    def _begin(self, key: Any) -> Any:
        params = self.model.init(key, jnp.zeros((1, 8), int))["params"]
        return params, self.tx.init(params)

    def _chunk(self, params: Any, state: Any, pieces: Any) -> Any:
        def step(carried: Any, piece: Any) -> Any:
            params, state = carried
            loss, grads = jax.value_and_grad(self._loss)(params, state, piece)
            updates, state = self.tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), loss

        (params, state), losses = jax.lax.scan(step, (params, state), pieces)
        return params, state, losses

    def _loss(self, params: Any, state: Any, piece: Any) -> Any:
        if self.run.m:
            params = nmflow.jax.apply_masks(params, state)
        return cross_entropy(self.model, params, piece).mean()


def optimizer(run: Run, setting: Setting) -> Any:
    """AdamW as in ``benchmarks.training``, under masks where there are some."""
    rising = max(1, round(0.05 * setting.steps))

    def rate(step: Any) -> Any:
        falling = (step - rising) / (setting.steps - rising)
        down = 0.5 * (1 + jnp.cos(jnp.pi * falling))
        return setting.rate * jnp.where(step < rising, (step + 1) / rising, down)

    def matrices(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)

    adam = optax.adamw(rate, 0.9, 0.95, weight_decay=setting.decay, mask=matrices)
    if not run.m:
        return optax.chain(optax.clip_by_global_norm(1.0), adam)
    # The last step refreshes and freezes at the latest: it is the last masks that are evaluated.
    refresh = run.refresh(setting.steps)
    masked = nmflow.jax.sparsify(adam, run.n, run.m, rule=run.rule, refresh=refresh)
    return optax.chain(optax.clip_by_global_norm(1.0), masked)


def cross_entropy(model: Transformer, params: Any, piece: Any) -> Any:
    """In nats, byte by byte."""
    piece = piece.astype(jnp.int32)
    scores = model.apply({"params": params}, piece[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(scores, piece[:, 1:])


def pieces_of(data: Stdlib, seed: int, steps: int) -> np.ndarray:
    """What a run reads: (steps, batch, context + 1) bytes from anywhere."""
    rng, train = np.random.default_rng(seed), data.train.numpy()
    starts = rng.integers(len(train) - CONTEXT, size=(steps, BATCH, 1))
    return train[starts + np.arange(CONTEXT + 1)]


def train(run: Run, seed: int, setting: Setting, held: str = "test") -> dict[str, Any]:
    """Train once from a seed and say what happened."""
    data = Stdlib(held)
    pieces = pieces_of(data, seed, setting.steps)
    training, history, losses = Training(run, seed, setting), [], []
    begin = time.perf_counter()
    for start in range(0, setting.steps, CHUNK):
        losses += training.go(pieces[start : start + CHUNK]).tolist()
        if run.m:
            history.append(_refresh(nmflow.jax.statistics(training.state)))
    seconds = time.perf_counter() - begin
    if not all(map(math.isfinite, losses)):
        raise FloatingPointError(f"{run.name}, seed {seed}: a loss is not finite")
    return {
        **{"run": run.name, "seed": seed, "held": held},
        "bits_per_byte": bits_per_byte(training, data),
        "losses": means(losses),
        "seconds": seconds,
        "masks": masks_of(training, history) if run.m else None,
    }


def bits_per_byte(training: Training, data: Stdlib) -> float:
    """On what is held out, in pieces, each read from its first byte on."""
    held, params = data.held.numpy(), training.evaluated()
    look = jax.jit(partial(cross_entropy, training.programme.model))
    sums = [
        np.asarray(look(params, held[k : k + 64]), np.float64).sum()
        for k in range(0, len(held), 64)
    ]
    return math.fsum(sums) / held[:, 1:].size / math.log(2)


def masks_of(training: Training, history: list[dict[str, float]]) -> dict[str, Any]:
    """What the masks did, and proofs of the last."""
    run, setting = training.programme.run, training.programme.setting
    tx = nmflow.jax.sparsify(optax.identity(), run.n, run.m)
    params = jax.tree.map(np.asarray, training.params)
    found = tx.certify(params, training.state).values()
    report = tx.report(training.params)
    return {
        "layers": len(report.sparsified),
        "entries": report.masked_parameters,
        "parameters": report.total_parameters,
        "refreshes": int(nmflow.jax.statistics(training.state).refreshes),
        "history": history[:: max(1, setting.steps // CHUNK // POINTS)],
        "largest_gap": max(each.gap for each in found),
        "tiles": sum(each.tiles for each in found),
        "optimal_tiles": sum(each.optimal_tiles for each in found),
    }


def _refresh(statistics: nmflow.jax.RefreshStatistics) -> dict[str, float]:
    row = {
        "step": statistics.step,
        "flip_rate": statistics.flip_rate,
        "sad": statistics.sad,
        "kept": statistics.kept_share,
    }
    return {name: float(f"{float(value):.4g}") for name, value in row.items()}


def means(values: list[float]) -> list[float]:
    """A curve of few points, each the mean of as many values."""
    count = min(POINTS, len(values))
    cuts = [round(k * len(values) / count) for k in range(count + 1)]
    return [float(f"{np.mean(values[a:b]):.5g}") for a, b in pairwise(cuts)]
