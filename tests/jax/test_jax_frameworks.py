"""Tiny nets of Flax Linen, Flax NNX and Equinox train under masks, as each is used to."""

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import nmflow  # noqa: E402
import nmflow.jax  # noqa: E402

INPUTS = jnp.asarray(np.random.default_rng(0).standard_normal((4, 8, 8, 4)), jnp.float32)


def sparsified():
    return nmflow.jax.sparsify(optax.adam(1e-2), 2, 4, refresh=2)


def assert_masked(weights, masks, axes):
    """The masks are the weights' own; ``axes`` by the number of dimensions."""
    assert set(weights) == set(masks)
    for path, weight in weights.items():
        weight = np.asarray(weight)
        wanted = nmflow.solve(weight, 2, 4, axes=axes[weight.ndim])
        assert np.array_equal(masks[path], wanted), path
        assert (
            nmflow.certify(weight, np.asarray(masks[path]), 2, 4, axes=axes[weight.ndim]).gap == 0
        )


def test_linen():
    nn = pytest.importorskip("flax.linen")
    train_state = pytest.importorskip("flax.training.train_state")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(8, (3, 3))(x))
            return nn.Dense(4, name="head")(nn.Dense(8)(x.mean((1, 2))))

    net = Net()
    params = net.init(jax.random.key(0), INPUTS)["params"]
    state = train_state.TrainState.create(apply_fn=net.apply, params=params, tx=sparsified())

    @jax.jit
    def step(state):
        def loss(params):
            masked = nmflow.jax.apply_masks(params, state.opt_state)
            return (state.apply_fn({"params": masked}, INPUTS) ** 2).mean()

        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    for _ in range(2):
        state = step(state)
    weights = {f"{name}/kernel": state.params[name]["kernel"] for name in ("Conv_0", "Dense_0")}
    assert_masked(weights, nmflow.jax.masks(state.opt_state), {4: (3, 2), 2: (1, 0)})
    sparse = nmflow.jax.sparse_params(state.params, state.opt_state)
    assert int((sparse["Conv_0"]["kernel"] == 0).sum()) == 9 * 4 * 4


def test_nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(4, 8, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.linear = nnx.Linear(8, 8, rngs=rngs)
            self.head = nnx.Linear(8, 4, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.conv(x)))
            return self.head(self.linear(x.mean((1, 2))))

    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, sparsified(), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            masked = nmflow.jax.apply_masks(model, optimizer.opt_state)
            value = (masked(INPUTS) ** 2).mean()
            return value, nnx.state(masked, nnx.BatchStat)

        grads, statistics = nnx.grad(loss, has_aux=True)(model)
        nnx.update(model, statistics)
        optimizer.update(model, grads)

    for _ in range(2):
        step(model, optimizer)
    assert float(jnp.abs(model.norm.mean[...]).max()) > 0
    weights = {f"{name}/kernel": getattr(model, name).kernel[...] for name in ("conv", "linear")}
    assert_masked(weights, nmflow.jax.masks(optimizer.opt_state), {4: (3, 2), 2: (1, 0)})
    assert int(nmflow.jax.statistics(optimizer.opt_state).refreshes) == 2
    params = nnx.state(model, nnx.Param)
    sparse = nmflow.jax.sparse_params(params, optimizer.opt_state)
    assert int((sparse["conv"]["kernel"][...] == 0).sum()) == 9 * 4 * 4


def test_equinox():
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        layers: list
        head: eqx.nn.Linear

        def __init__(self, key):
            keys = jax.random.split(key, 3)
            self.conv = eqx.nn.Conv2d(4, 8, 3, key=keys[0])
            self.layers = [eqx.nn.Linear(8, 8, key=keys[1]), jax.nn.relu]
            self.head = eqx.nn.Linear(8, 4, key=keys[2])

        def __call__(self, x):
            x = self.conv(x.transpose(2, 0, 1)).mean((1, 2))
            return self.head(self.layers[1](self.layers[0](x)))

    model, tx = Net(jax.random.key(0)), sparsified()
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        def loss(model):
            return (jax.vmap(nmflow.jax.apply_masks(model, state))(INPUTS) ** 2).mean()

        grads = eqx.filter_grad(loss)(model)
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, after = tx.update(grads, state, params)
        return eqx.apply_updates(model, updates), after

    for _ in range(2):
        model, state = step(model, state)
    weights = {"conv/weight": model.conv.weight, "layers/0/weight": model.layers[0].weight}
    assert_masked(weights, nmflow.jax.masks(state), {4: (0, 1), 2: (0, 1)})
    sparse = nmflow.jax.sparse_params(model, state)
    assert sparse.layers[1] is model.layers[1]
    assert int((sparse.conv.weight == 0).sum()) == 9 * 4 * 4
