"""The state found, and masks kept right, within what optax puts around and beside."""

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax_training import (  # noqa: E402
    assert_same,
    assert_solved,
    batches,
    masked_loss,
    new_params,
    stepper,
)

import nmflow.jax  # noqa: E402

# A pattern that compiles fast.
ROWS = {"pattern": "rows"}


def sparsified(tx, **options):
    return nmflow.jax.sparsify(tx, 2, 4, **({"refresh": 1} | ROWS | options))


@pytest.mark.parametrize(
    "around",
    [
        lambda: optax.chain(optax.clip_by_global_norm(1.0), sparsified(optax.adam(1e-2))),
        lambda: optax.apply_if_finite(sparsified(optax.adam(1e-2)), 3),
        lambda: optax.MultiSteps(sparsified(optax.adam(1e-2)), 1),
        lambda: optax.inject_hyperparams(lambda rate: sparsified(optax.adam(rate)))(rate=1e-2),
        lambda: sparsified(optax.inject_hyperparams(optax.adam)(1e-2)),
        lambda: optax.masked(
            sparsified(optax.adam(1e-2)), lambda p: jax.tree.map(lambda x: x.ndim > 1, p)
        ),
        lambda: optax.multi_transform(
            {"up": sparsified(optax.adam(1e-2)), "rest": optax.sgd(1e-2)},
            lambda p: {key: "up" if key in ("up", "down") else "rest" for key in p},
        ),
    ],
    ids=["chain", "finite", "multi", "inject", "injected", "masked", "transform"],
)
def test_any_state_around(around):
    tx, params, traces = around(), new_params(), []
    step, state = stepper(tx, traces), tx.init(params)
    for inputs in batches(2):
        params, state = step(params, state, inputs)
        assert sorted(nmflow.jax.masks(state)) == ["down/kernel", "up/kernel"]
        assert_solved(params, state, 2, 4, **ROWS)
    assert len(traces) == 1
    assert int(nmflow.jax.statistics(state).refreshes) == 3
    zeros = sum(int((leaf == 0).sum()) for leaf in jax.tree.leaves(masked_params(params, state)))
    assert zeros >= 512


def masked_params(params, state):
    return nmflow.jax.sparse_params(params, state)


def test_several_states_have_one_view():
    """Each part of the parameters under masks of its own."""
    tx = optax.multi_transform(
        {
            "up": sparsified(optax.sgd(1e-2), refresh=2),
            "down": nmflow.jax.sparsify(optax.sgd(1e-2), 4, 8, refresh=3, **ROWS),
            "rest": optax.sgd(1e-2),
        },
        lambda p: {key: key if key in ("up", "down") else "rest" for key in p},
    )
    params = new_params()
    step, state = stepper(tx), tx.init(params)
    for inputs in batches(3):
        params, state = step(params, state, inputs)
    statistics = nmflow.jax.statistics(state)
    layers = {path: int(layer.n) for path, layer in statistics.layers.items()}
    assert layers == {"up/kernel": 2, "down/kernel": 4}
    assert int(statistics.step) == 3
    masked = nmflow.jax.sparse_params(params, state)
    for path, kept in (("up", 0.5), ("down", 0.5)):
        assert (np.asarray(masked[path]["kernel"]) != 0).mean() == kept


def test_accumulated_steps_count_once():
    """Two batches in one update: as one update by their mean."""
    params, (first, second) = new_params(), batches(2)
    tx = sparsified(optax.adam(1e-2), refresh=2)
    multi = optax.MultiSteps(tx, 2)
    step, state = stepper(multi), multi.init(params)
    single, plain = params, tx.init(params)

    @jax.jit
    def whole(p, s):
        grads = [jax.grad(masked_loss)(p, s, x) for x in (first, second)]
        # In the order in which MultiSteps adds.
        mean = jax.tree.map(lambda a, b: a + (b - a) / 2, *grads)
        updates, s = tx.update(mean, s, p)
        return optax.apply_updates(p, updates), s

    for _ in range(2):
        for inputs in (first, second):
            params, state = step(params, state, inputs)
        single, plain = whole(single, plain)
        assert int(nmflow.jax.statistics(state).refreshes) == int(plain.last.refreshes)
    assert_solved(params, state, 2, 4, **ROWS)
    assert int(plain.last.step) == 2
    for one, other in zip(*map(jax.tree.leaves, (params, single)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_an_update_that_is_skipped_changes_nothing():
    params = new_params()
    tx = optax.apply_if_finite(sparsified(optax.adam(1e-2)), 3)
    state = tx.init(params)
    bad = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), params)
    updates, after = jax.jit(tx.update)(bad, state, params)
    assert_same(after.inner_state, state.inner_state)
    assert all(not leaf.any() for leaf in jax.tree.leaves(updates))


def test_extra_arguments_reach_the_optimizer():
    params = new_params()
    tx = sparsified(optax.polyak_sgd())
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(gradient, tx.init(params), params, value=1.0)
    assert float(updates["up"]["bias"][0]) != 0


def test_states_are_mapped_as_optax_maps_them():
    params = new_params()
    tx = sparsified(optax.adam(1e-2))
    state = tx.init(params)
    mapped = optax.tree_utils.tree_map_params(tx, lambda leaf: leaf * 0, state)
    assert not mapped.inner_state[0].mu["up"]["kernel"].any()
    assert not mapped.masks["up"]["kernel"].any()
    assert int(optax.tree_utils.tree_get(state, "interval")) == 1
    shapes = jax.eval_shape(tx.init, params)
    assert shapes.masks["up"]["kernel"].shape == (16, 32)


def test_members_of_an_ensemble():
    """Under ``vmap`` each has the masks of its own parameters."""
    members = [new_params(seed) for seed in range(3)]
    tx, (inputs,) = sparsified(optax.sgd(1e-2)), batches(1)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    together = jax.vmap(stepper(tx), (0, 0, None))(stacked, jax.vmap(tx.init)(stacked), inputs)
    for k, params in enumerate(members):
        params, state = stepper(tx)(params, tx.init(params), inputs)
        for path, mask in nmflow.jax.masks(state).items():
            assert np.array_equal(nmflow.jax.masks(together[1])[path][k], mask)
