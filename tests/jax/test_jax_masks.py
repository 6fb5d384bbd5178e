"""``nmflow.jax.solve`` finds the engine's mask, bit for bit."""

import numpy as np
import pytest
from samples import side_by_side, tiles_of_every_kind
from tiles import KINDS, seeded

jax = pytest.importorskip("jax")

import nmflow  # noqa: E402
import nmflow.jax  # noqa: E402

jnp = jax.numpy


def held(weights, n, m, **options):
    """The mask, after it was compared with the engine's."""
    mask = nmflow.jax.solve(weights, n, m, **options)
    assert isinstance(mask, jax.Array)
    assert mask.dtype == jnp.bool_
    expected = nmflow.solve(np.asarray(weights), n, m, **options)
    assert np.array_equal(np.asarray(mask), expected), (n, m, options)
    return mask


@pytest.mark.parametrize(("n", "m"), [(2, 4), (5, 8), (8, 16)])
def test_masks_are_the_engines(n, m):
    """So many tiles of every kind, and the partial ones of both edges."""
    each = 40 if m < 16 else 10
    weights = side_by_side(tiles_of_every_kind(n, m, np.float32, each), 2 * each)
    assert len(KINDS) * each * m * m == weights.size
    weights = weights[: -m // 2, 1:]
    mask = held(jnp.asarray(weights), n, m)
    certificate = nmflow.certify(weights, np.asarray(mask), n, m)
    assert certificate.gap == 0
    assert certificate.optimal_tiles == certificate.tiles


def test_vmap_is_a_batch_and_grad_goes_around():
    weights = jnp.asarray(seeded("vmap").standard_normal((2, 3, 8, 8)).astype(np.float32))
    mask = held(weights, 2, 4)

    def loss(w):
        return (jnp.where(nmflow.jax.solve(w, 2, 4), w, 0) ** 2).sum()

    found = jax.jit(jax.vmap(jax.vmap(lambda w: nmflow.jax.solve(w, 2, 4))))(weights)
    assert jnp.array_equal(found, mask)
    gradient = jax.vmap(jax.vmap(jax.grad(loss)))(weights)
    assert jnp.array_equal(gradient, jnp.where(mask, 2 * weights, 0))
