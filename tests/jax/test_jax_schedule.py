"""When masks are found anew: as nmflow.torch's handle has it, step by step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
from jax_training import assert_solved, batches, new_params, stepper  # noqa: E402

import nmflow.jax  # noqa: E402
from nmflow.jax.schedule import Ramp, after_refresh, is_due, is_over, new_clock  # noqa: E402
from nmflow.problem.pattern import Pattern  # noqa: E402
from nmflow.training.clock import Clock  # noqa: E402
from nmflow.training.policy import Refresh  # noqa: E402

# A pattern that compiles fast.
ROWS = {"pattern": "rows"}
SETTINGS = st.builds(
    dict,
    every=st.integers(1, 7),
    begin=st.integers(0, 9),
    ramp=st.integers(0, 12),
    schedule=st.sampled_from(["linear", "cubic", lambda share: 0.5 + 0.5 * (share > 0.3)]),
    flip_rate=st.sampled_from([None, 0.3]),
    longest=st.integers(1, 12),
)


@settings(max_examples=60)
@given(SETTINGS, st.integers(0, 30) | st.none(), st.lists(st.floats(0, 1, width=32), min_size=60))
def test_the_clock_is_that_of_torch(options, until, flips):
    """The same refreshes, keeping the same number, whatever the flip rates."""
    if until is not None:
        until = max(1, until, options["begin"] + options["ramp"])
    policy, pattern = Refresh(until=until, **options), Pattern(2, 8)
    other, clock, ramp = Clock(policy), new_clock(policy), Ramp(policy, pattern)
    advance = jax.jit(lambda c: c._replace(step=c.step + 1))
    for flip_rate in flips:
        over = bool(is_over(policy, clock))
        clock = advance(clock)
        due = bool(is_due(clock)) and not over
        wanted = other.tick() and not over
        assert due == wanted, int(clock.step)
        if due:
            kept = ramp.kept[int(ramp.choice(clock.step))]
            assert kept == policy.kept(other.step, pattern)
            other.refreshed(flip_rate)
            clock = after_refresh(policy, clock, jnp.float32(flip_rate))
            if not other.over:
                assert int(clock.next_refresh) == other.next
    assert ramp.kept == tuple(sorted(policy.stages(pattern), reverse=True))


def test_masks_are_lowered_stage_by_stage():
    """Each stage exact for its n, in one compilation."""
    params, traces = new_params(), []
    policy = nmflow.jax.Refresh(every=2, begin=2, ramp=4)
    tx = nmflow.jax.sparsify(optax.adam(1e-2), 2, 4, refresh=policy, **ROWS)
    step, state = stepper(tx, traces), tx.init(params)
    kept = []
    for count, inputs in enumerate(batches(8)):
        kept.append(int(nmflow.jax.statistics(state).layers["up/kernel"].n))
        if count and count % 2 == 0:
            assert_solved(params, state, kept[-1], 4, **ROWS)
        params, state = step(params, state, inputs)
    assert kept == [4, 4, 4, 4, 3, 3, 2, 2]
    assert len(traces) == 1


def test_dense_until_it_begins():
    params, policy = new_params(), nmflow.jax.Refresh(every=3, begin=2)
    tx = nmflow.jax.sparsify(optax.sgd(1e-2), 2, 4, refresh=policy, **ROWS)
    state = tx.init(params)
    assert all(mask.all() for mask in nmflow.jax.masks(state).values())
    assert tx.certify(params, state) == {}
    assert int(nmflow.jax.statistics(state).refreshes) == 0
    step = stepper(tx)
    for inputs in batches(2):
        params, state = step(params, state, inputs)
    assert_solved(params, state, 2, 4, **ROWS)
    statistics = nmflow.jax.statistics(state)
    assert float(statistics.flip_rate) >= 0.5
    assert int(statistics.step) == 2


def test_intervals_grow_as_masks_settle():
    params = new_params()
    policy = nmflow.jax.Refresh(every=1, flip_rate=0.9, longest=4)
    tx = nmflow.jax.sparsify(optax.sgd(1e-3), 2, 4, refresh=policy, **ROWS)
    step, state, refreshed = stepper(tx), tx.init(params), []
    for inputs in batches(12):
        params, state = step(params, state, inputs)
        refreshed.append(int(nmflow.jax.statistics(state).step))
    assert sorted(set(refreshed)) == [1, 3, 7, 11]


def test_statistics_are_what_changed():
    params = new_params()
    tx = nmflow.jax.sparsify(optax.sgd(0.5), 2, 4, refresh=1, **ROWS)
    first = tx.init(params)
    step = stepper(tx)
    statistics = nmflow.jax.statistics(first)
    assert int(statistics.step) == 0
    for path, layer in statistics.layers.items():
        mask = np.asarray(nmflow.jax.masks(first)[path])
        assert int(layer.sad) == (~mask).sum()
    moved, state = step(params, first, batches(1)[0])
    statistics = jax.jit(lambda s: nmflow.jax.statistics(s).layers["up/kernel"].kept_share)(state)
    layers = nmflow.jax.statistics(state).layers
    assert set(layers) == set(nmflow.jax.masks(state))
    assert float(statistics) == float(layers["up/kernel"].kept_share)
    changed = total = kept = score = 0
    for path, layer in layers.items():
        old, new = (np.asarray(nmflow.jax.masks(s)[path]) for s in (first, state))
        size = np.abs(np.asarray(moved[path.split("/")[0]]["kernel"], np.float64))
        assert int(layer.n) == 2
        assert layer.entries == size.size
        assert int(layer.sad) == (old != new).sum() > 0
        assert float(layer.flip_rate) == pytest.approx((old != new).mean())
        assert float(layer.kept_score) == pytest.approx(size[new].sum(), rel=1e-5)
        assert float(layer.score) == pytest.approx(size.sum(), rel=1e-5)
        changed, total = changed + (old != new).sum(), total + size.size
        kept, score = kept + size[new].sum(), score + size.sum()
    all_of_it = nmflow.jax.statistics(state)
    assert float(all_of_it.flip_rate) == pytest.approx(changed / total)
    assert float(all_of_it.sad) == pytest.approx(changed / len(layers))
    assert float(all_of_it.kept_score) == pytest.approx(kept, rel=1e-5)
    assert float(all_of_it.kept_share) == pytest.approx(kept / score, rel=1e-5)
    assert str(all_of_it).startswith("step 1: refresh 2, flip rate 0.")


def test_squares_and_raw_scores_are_summed_as_such():
    params = new_params()
    values = np.asarray(params["up"]["kernel"], np.float64)
    for score, scores in (("square", values**2), ("raw", values)):
        tx = nmflow.jax.sparsify(optax.sgd(0.5), 2, 4, score=score, **ROWS)
        state = tx.init(params)
        layer = nmflow.jax.statistics(state).layers["up/kernel"]
        mask = np.asarray(nmflow.jax.masks(state)["up/kernel"])
        assert float(layer.score) == pytest.approx(scores.sum(), rel=1e-4, abs=1e-3)
        assert float(layer.kept_score) == pytest.approx(scores[mask].sum(), rel=1e-4)
