"""Masks brought along, frozen, and let go again: as nmflow.torch's handle has it."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
from jax_training import assert_solved, batches, leaf, new_params, stepper  # noqa: E402

import nmflow  # noqa: E402
import nmflow.jax  # noqa: E402

ROWS = {"pattern": "rows"}


def pruned_params():
    """Parameters that are 2:4 both ways, with fewer in one group."""
    params = new_params()
    for name in ("up", "down"):
        values = np.asarray(params[name]["kernel"])
        params[name]["kernel"] = jnp.asarray(values * nmflow.solve(values, 2, 4, axes=(1, 0)))
    params["up"]["kernel"] = params["up"]["kernel"].at[:4].set(0)
    return params


def test_zeros_that_are_there_stay():
    """A pruned model is fine-tuned, also where its groups hold fewer than n."""
    params = pruned_params()
    first = jax.tree.map(np.asarray, params)
    tx = nmflow.jax.sparsify(optax.adamw(1e-2), 2, 4, refresh=None, masks="zeros")
    state = tx.init(params)
    layer = nmflow.jax.statistics(state).layers["up/kernel"]
    assert (int(layer.n), float(layer.kept_share)) == (2, 1)
    step = stepper(tx)
    for inputs in batches(3):
        params, state = step(params, state, inputs)
    for path, mask in nmflow.jax.masks(state).items():
        assert np.array_equal(mask, leaf(first, path) != 0)
        assert np.array_equal(leaf(params, path) != 0, mask)


def test_masks_by_path_and_by_a_function():
    """What has none is solved, and a policy moves on from all."""
    params = new_params()
    mine = np.tile([[True, False], [False, True]], (8, 16))
    for masks in ({"up/kernel": mine}, lambda path, _: mine if path == "up/kernel" else None):
        tx = nmflow.jax.sparsify(optax.sgd(1e-2), 2, 4, refresh=2, masks=masks, **ROWS)
        state = tx.init(params)
        assert np.array_equal(nmflow.jax.masks(state)["up/kernel"], mine)
        values = np.asarray(params["down"]["kernel"])
        wanted = nmflow.solve(values, 2, 4, axes=(1, 0), **ROWS)
        assert np.array_equal(nmflow.jax.masks(state)["down/kernel"], wanted)
    step, moved = stepper(tx), params
    for inputs in batches(2):
        moved, state = step(moved, state, inputs)
    assert_solved(moved, state, 2, 4, **ROWS)


def test_masks_under_jit():
    params = pruned_params()
    tx = nmflow.jax.sparsify(optax.sgd(1e-2), 2, 4, masks="zeros")
    one, other = tx.init(params), jax.jit(tx.init)(params)
    for here, there in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        # XLA may add scores up in another order.
        np.testing.assert_allclose(here, there, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": "zeroes"}, "masks"),
        ({"masks": "zeros"}, r"zeros of down/kernel: not 2:4 .* holds 4, should hold 2"),
        ({"masks": {"embed/embedding": True}}, "masks for no parameter that is masked: embed"),
        ({"masks": lambda *_: np.ones((2, 2), bool)}, r"bools of shape \(32, 16\)"),
        ({"masks": lambda _, value: value}, "got float32 of shape"),
        ({"masks": lambda _, value: value == value}, "the mask of down/kernel: not 2:4"),
        ({"masks": "zeros", "refresh": nmflow.jax.Refresh(begin=3)}, "begin=3 is dense until then"),
    ],
)
def test_masks_that_are_none(options, message):
    with pytest.raises(nmflow.NmflowError, match=message):
        nmflow.jax.sparsify(optax.sgd(1.0), 2, 4, **options).init(new_params())


def test_frozen_and_let_go_again():
    """In one compilation, wherever the state is nested."""
    params, traces = new_params(), []
    policy = nmflow.jax.Refresh(every=6, until=100)
    inner = nmflow.jax.sparsify(optax.adam(1e-2), 2, 4, refresh=policy, **ROWS)
    tx = optax.chain(optax.clip_by_global_norm(1.0), inner)
    step, state, inputs = stepper(tx, traces), tx.init(params), batches(8)
    params, state = step(params, state, inputs[0])
    first = nmflow.jax.masks(state)
    state = nmflow.jax.freeze(state)
    for x in inputs[1:4]:
        params, state = step(params, state, x)
        for path, mask in nmflow.jax.masks(state).items():
            assert np.array_equal(mask, first[path])
            assert np.array_equal(leaf(params, path) != 0, mask)
    state = jax.jit(nmflow.jax.unfreeze)(state)
    refreshed = []
    for x in inputs[4:]:
        params, state = step(params, state, x)
        refreshed.append(int(nmflow.jax.statistics(state).step))
        if refreshed[-1] == int(state[1].clock.step):
            assert_solved(params, state, 2, 4, **ROWS)
    assert refreshed == [5, 5, 5, 5]
    assert (np.asarray(params["up"]["kernel"]) != 0).mean() > 0.9
    assert len(traces) == 1


def test_a_state_goes_on_under_another_policy():
    params = new_params()
    once = nmflow.jax.sparsify(optax.sgd(0.5), 2, 4, refresh=None, **ROWS)
    params, state = stepper(once)(params, once.init(params), batches(1)[0])
    again = nmflow.jax.sparsify(optax.sgd(0.5), 2, 4, refresh=1, **ROWS)
    params, state = stepper(again)(params, nmflow.jax.unfreeze(state), batches(2)[1])
    assert_solved(params, state, 2, 4, **ROWS)
    with pytest.raises(nmflow.NmflowError, match="no state"):
        nmflow.jax.unfreeze({})


@pytest.mark.parametrize("pattern", ["transposable", "rows"])
def test_zeros_are_kept_as_masks_move(pattern):
    """What was 0 is never kept, whatever it learns."""
    params = new_params()
    rng = np.random.default_rng(0)
    for name in ("up", "down"):
        values = np.asarray(params[name]["kernel"])
        zeros = rng.random(values.shape) < np.linspace(0, 1, values.shape[1])
        params[name]["kernel"] = jnp.asarray(np.where(zeros, 0, values))
    first = jax.tree.map(np.asarray, params)
    options = {"refresh": 2, "keep_zeros": True, "pattern": pattern}
    tx = nmflow.jax.sparsify(optax.adam(0.3), 2, 4, **options)
    step, state = stepper(tx), jax.jit(tx.init)(params)
    for count, inputs in enumerate(batches(4), 1):
        if count % 2:
            for path, mask in nmflow.jax.masks(state).items():
                values, within = np.asarray(leaf(params, path)), leaf(first, path) != 0
                wanted = nmflow.solve(
                    values, 2, 4, axes=(1, 0), within=within, at_most=True, pattern=pattern
                )
                assert np.array_equal(mask, wanted)
                assert (mask & ~within).sum() == 0
            assert all(each.optimal for each in tx.certify(params, state).values())
        params, state = step(params, state, inputs)
    assert (leaf(params, path)[~within] != 0).any()
    sparse = nmflow.jax.sparse_params(params, state)
    assert (np.asarray(leaf(sparse, path))[~within] == 0).all()
