"""Train a small network in JAX under exact 4:8 masks that follow its weights.

Needs nmflow[jax]: python examples/train_jax.py
"""

import jax
import jax.numpy as jnp
import optax

import nmflow.jax


def predict(params, inputs):
    """A network of three layers."""
    hidden = jnp.tanh(inputs @ params["first"]["kernel"])
    hidden = jnp.tanh(hidden @ params["second"]["kernel"])
    return hidden @ params["head"]["kernel"]


def loss(params, inputs, targets):
    """The mean squared error."""
    return ((predict(params, inputs) - targets) ** 2).mean()


def main():
    """Train, and say what came out."""
    sizes = {"first": (32, 64), "second": (64, 64), "head": (64, 1)}
    keys = jax.random.split(jax.random.key(0), len(sizes) + 1)
    params = {
        name: {"kernel": jax.random.normal(key, size) / jnp.sqrt(size[0])}
        for (name, size), key in zip(sizes.items(), keys, strict=False)
    }
    inputs = jax.random.normal(keys[-1], (512, 32))
    targets = jnp.sin(inputs[:, :4]).sum(1, keepdims=True)

    # Dense for 100 steps, fewer and fewer weights until step 300, the last masks at 800.
    refresh = nmflow.jax.Refresh(every=40, begin=100, ramp=200, until=800)
    tx = nmflow.jax.sparsify(optax.adam(3e-3), 4, 8, refresh=refresh)
    print(tx.report(params), end="\n\n")
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        def masked(params):
            return loss(nmflow.jax.apply_masks(params, state), inputs, targets)

        value, gradient = jax.value_and_grad(masked)(params)
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    for count in range(1, 1001):
        params, state, value = step(params, state)
        if count % 200 == 0:
            print(f"loss {float(value):.4f}; {nmflow.jax.statistics(state)}")

    sparse = nmflow.jax.sparse_params(params, state)
    print(f"\nloss of what is exported: {float(loss(sparse, inputs, targets)):.4f}")
    for path, certificate in tx.certify(params, state).items():
        print(f"{path}: gap {certificate.gap:g}, {certificate.tiles} tiles")


if __name__ == "__main__":
    main()
