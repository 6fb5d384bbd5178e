"""A tiny training in plain JAX, and what to hold its masks against."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nmflow
import nmflow.jax


def new_params(seed=0, width=16, hidden=32):
    """Two layers, and what stays dense."""
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        "up": {"kernel": jax.random.normal(keys[0], (width, hidden)), "bias": jnp.zeros(hidden)},
        "down": {"kernel": jax.random.normal(keys[1], (hidden, width))},
        "embed": {"embedding": jax.random.normal(keys[2], (9, width))},
    }


def loss(params, inputs):
    hidden = jnp.tanh(inputs @ params["up"]["kernel"] + params["up"]["bias"])
    out = hidden @ params["down"]["kernel"]
    return ((out - inputs) ** 2).mean()


def masked_loss(params, state, inputs):
    return loss(nmflow.jax.apply_masks(params, state), inputs)


def stepper(tx, traces=None, compiler_options=None):
    """A jitted step; appends to ``traces`` each time that it is traced."""

    @functools.partial(jax.jit, compiler_options=compiler_options)
    def step(params, state, inputs):
        if traces is not None:
            traces.append(1)
        grads = jax.grad(masked_loss)(params, state, inputs)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step


def batches(count, seed=0, width=16):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.standard_normal((8, width)), jnp.float32) for _ in range(count)]


def leaf(tree, path):
    for part in path.split("/"):
        tree = tree[part]
    return tree


def assert_solved(params, state, n, m, **options):
    """The masks in the state are nmflow's of these parameters, bit for bit."""
    found = nmflow.jax.masks(state)
    assert found
    for path, mask in found.items():
        wanted = nmflow.solve(np.asarray(leaf(params, path)), n, m, axes=(1, 0), **options)
        assert np.array_equal(np.asarray(mask), wanted), path


def assert_same(one, other):
    """Two trees are equal bit for bit."""
    left, right = jax.tree.leaves(one), jax.tree.leaves(other)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(left, right, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
