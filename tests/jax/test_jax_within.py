"""Masks of what is allowed, by XLA: the core's, where tiles can be filled and where they can't."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

import nmflow  # noqa: E402
import nmflow.jax  # noqa: E402


def draw(rng, kind, shape):
    """Scores of full precision, and with many ties, zeros and signs."""
    if kind == "normal":
        return rng.standard_normal(shape).astype(np.float32)
    return rng.integers(-2, 3, shape).astype(np.float32)


def allowed_of(rng, shape):
    """From nearly all to nearly nothing, column by column of matrices."""
    return rng.random(shape) < np.linspace(1.02, 0.02, shape[-1])


@pytest.mark.parametrize("score", ["abs", "raw"])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 8)])
def test_masks_within_are_the_cores(n, m, score, rng):
    """Ragged edges, ties and tiles that can't be filled; 700 tiles."""
    shape = (2, 8 * m + 3, 40 * m + 1)
    solve = jax.jit(lambda w, a: nmflow.jax.solve(w, n, m, score=score, within=a))
    unfilled = 0
    for kind in ("normal", "ties"):
        weights, allowed = draw(rng, kind, shape), allowed_of(rng, shape)
        found = np.asarray(solve(weights, allowed))
        wanted = nmflow.solve(weights, n, m, score=score, within=allowed, at_most=True)
        assert np.array_equal(found, wanted)
        held = wanted[:, : 8 * m].reshape(2, 8, m, -1).sum(2)
        unfilled += (held[..., : 40 * m] < n).sum()
    assert unfilled > 1000


@pytest.mark.parametrize("pattern", ["rows", "columns", "unstructured"])
@pytest.mark.parametrize("score", ["abs", "raw"])
def test_groups_within_are_the_cores(pattern, score, rng):
    weights, allowed = draw(rng, "ties", (3, 13, 42)), allowed_of(rng, (3, 13, 42))
    options = {"pattern": pattern, "score": score, "within": allowed}
    found = jax.jit(lambda w: nmflow.jax.solve(w, 3, 8, **options))(weights)
    assert np.array_equal(found, nmflow.solve(weights, 3, 8, at_most=True, **options))


def test_n_equals_m_within(rng):
    weights, allowed = draw(rng, "ties", (9, 9)), allowed_of(rng, (9, 9))
    found = nmflow.jax.solve(weights, 4, 4, score="raw", within=allowed)
    wanted = nmflow.solve(weights, 4, 4, score="raw", within=allowed, at_most=True)
    assert np.array_equal(found, wanted)


def test_one_mask_for_a_batch(rng):
    """``vmap`` over the weights alone."""
    weights, allowed = draw(rng, "normal", (5, 6, 12)), allowed_of(rng, (6, 12))
    within = jax.vmap(lambda w: nmflow.jax.solve(w, 2, 4, within=allowed))
    for one, mask in zip(weights, within(weights), strict=True):
        assert np.array_equal(mask, nmflow.solve(one, 2, 4, within=allowed, at_most=True))


@pytest.mark.parametrize("allowed", [jnp.ones((4, 8)), jnp.ones((8, 4), bool)])
def test_what_is_no_mask(allowed):
    with pytest.raises(nmflow.NmflowError, match=r"within: expected bools of shape \(4, 8\)"):
        nmflow.jax.solve(jnp.ones((4, 8)), 2, 4, within=allowed)
