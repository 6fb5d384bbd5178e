"""What refreshes cost: the same programme with one every so many steps, and with none."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

import nmflow.jax
from benchmarks.jax_training.train import CHUNK, Run, Setting, Training, pieces_of
from benchmarks.training.stdlib import Stdlib
from nmflow.jax.state import SparsifyState


def measure(run: Run, setting: Setting, rounds: int) -> dict[str, Any]:
    """The share of the time that refreshes take, from chunks of :data:`CHUNK` steps in turn.

    Both trainings run one compiled programme. In one the state says that a refresh is due once in
    each chunk, in the other that none ever is. The share is 1 less the ratio of the two times, the
    median over the rounds; each round takes the two side by side, so that what else runs on the
    machine touches both. They are of processor time.
    """
    # Masks freeze at the last step, which is not to come.
    setting = replace(setting, steps=max(setting.steps, (rounds + 2) * CHUNK))
    data = Stdlib("test")
    refreshed, fixed = (Training(run, 0, setting) for _ in range(2))
    fixed.state = without_refreshes(fixed.state)
    pieces = pieces_of(data, 0, CHUNK)
    for training in (refreshed, fixed):
        timed(training, pieces)
    times = []
    for k in range(rounds):
        order = (refreshed, fixed) if k % 2 else (fixed, refreshed)
        times.append({training: timed(training, pieces) for training in order})
    count = int(nmflow.jax.statistics(refreshed.state).refreshes)
    assert count == rounds + 2, count
    assert int(nmflow.jax.statistics(fixed.state).refreshes) == 1
    shares = [1 - each[fixed] / each[refreshed] for each in times]
    return {
        "pattern": f"{run.n}:{run.m}",
        "every": CHUNK,
        "rounds": rounds,
        "refresh_share": statistics.median(shares),
        "shares": [float(f"{share:.4g}") for share in shares],
        "fixed_step_seconds": statistics.median(each[fixed] for each in times) / CHUNK,
        "step_seconds": statistics.median(each[refreshed] for each in times) / CHUNK,
    }


def timed(training: Training, pieces: Any) -> float:
    """Seconds of processor time of a chunk, which other processes don't lengthen."""
    begin = time.process_time()
    jax.block_until_ready(training.go(pieces))
    return time.process_time() - begin


def without_refreshes(state: Any) -> Any:
    """The optimizer's state with the next refresh never due."""

    def never(node: Any) -> Any:
        if not isinstance(node, SparsifyState):
            return node
        far = jnp.full_like(node.clock.next_refresh, 2**30)
        return node._replace(clock=node.clock._replace(next_refresh=far))

    return jax.tree.map(never, state, is_leaf=lambda node: isinstance(node, SparsifyState))
