"""Masks in the state of an optimizer: the solver's, when they are due, and obeyed."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
from compiled import AS_USERS  # noqa: E402
from jax_training import (  # noqa: E402
    assert_solved,
    batches,
    leaf,
    loss,
    masked_loss,
    new_params,
    stepper,
)

import nmflow  # noqa: E402
import nmflow.jax  # noqa: E402
from nmflow.jax import refreshing  # noqa: E402
from nmflow.jax.transformation import rounded  # noqa: E402

# Patterns that compile fast, where what is tested is not the solver.
ROWS = {"pattern": "rows"}
PATTERNS = {"up*": (2, 4), "*/kernel": (4, 8)}
PATHS = ["down/kernel", "up/kernel"]


def parity(weights, n, m, *, pattern, axes, score, within):
    """No solver: the weights' last bits, which tell parameters that are an ulp off."""
    return (jax.lax.bitcast_convert_type(weights, jnp.uint32) & 1).astype(bool)


def test_masks_are_solved_for_the_parameters_as_they_are():
    params, traces = new_params(), []
    tx = nmflow.jax.sparsify(optax.adamw(1e-2), 4, 8, refresh=3)
    step, state = stepper(tx, traces), tx.init(params)
    assert sorted(nmflow.jax.masks(state)) == PATHS
    assert_solved(params, state, 4, 8)
    for count, inputs in enumerate(batches(7), 1):
        before = nmflow.jax.masks(state)
        params, state = step(params, state, inputs)
        if count % 3 == 0:
            assert_solved(params, state, 4, 8)
            assert all(each.gap == 0 for each in tx.certify(params, state).values())
        else:
            for path, mask in nmflow.jax.masks(state).items():
                assert np.array_equal(mask, before[path])
    assert len(traces) == 1
    assert int(nmflow.jax.statistics(state).refreshes) == 3


def test_masks_are_for_the_parameters_bit_for_bit(monkeypatch):
    """Though a compiler may round a product and its sum at once in one place and not in another."""
    monkeypatch.setattr(refreshing, "solve", parity)
    params = new_params()
    tx = nmflow.jax.sparsify(optax.adamw(optax.cosine_decay_schedule(1e-2, 100)), 4, 8, refresh=1)
    step, state = stepper(tx, compiler_options=AS_USERS), tx.init(params)
    for inputs in batches(5):
        params, state = step(params, state, inputs)
        for path, mask in nmflow.jax.masks(state).items():
            bits = np.asarray(leaf(params, path)).view(np.uint32) & 1
            assert np.array_equal(mask, bits.astype(bool)), path


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rounding_changes_nothing(dtype, rng):
    values = (
        jnp.asarray(rng.standard_normal(64), dtype).at[:3].set(jnp.array([0, jnp.nan, -0.0], dtype))
    )
    found = jax.jit(rounded, compiler_options=AS_USERS)(values, jnp.array(-1) > 0)
    assert found.dtype == values.dtype
    assert np.asarray(found).tobytes() == np.asarray(values).tobytes()


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["transposable", "rows", "columns"]))
def test_any_pattern_and_kernel(seed, pattern):
    """Of two and four dimensions, with ragged edges and ties."""
    rng = np.random.default_rng(seed)
    params = {
        "a": {"kernel": jnp.asarray(rng.integers(-3, 4, (8, 12)), jnp.float32)},
        "b": {"kernel": jnp.asarray(rng.standard_normal((3, 2, 5, 8)), jnp.float32)},
    }
    state = nmflow.jax.sparsify(optax.sgd(1.0), 2, 4, pattern=pattern).init(params)
    for path, axes in (("a/kernel", (1, 0)), ("b/kernel", (3, 2))):
        values = np.asarray(leaf(params, path))
        wanted = nmflow.solve(values, 2, 4, pattern=pattern, axes=axes)
        assert np.array_equal(nmflow.jax.masks(state)[path], wanted)


def test_the_gradient_passes_straight_through():
    params, (inputs,) = new_params(), batches(1)
    tx = nmflow.jax.sparsify(optax.sgd(1.0), 2, 4)
    state = tx.init(params)
    masked = nmflow.jax.sparse_params(params, state)
    wanted = jax.grad(loss)(masked, inputs)
    found = jax.grad(masked_loss)(params, state, inputs)
    updates, _ = tx.update(found, state, params)
    for path in [*PATHS, "up/bias", "embed/embedding"]:
        assert np.array_equal(leaf(found, path), leaf(wanted, path)), path
        assert np.array_equal(leaf(updates, path), -leaf(wanted, path)), path
    assert np.abs(leaf(found, "up/kernel"))[~np.asarray(state.masks["up"]["kernel"])].min() > 0


def test_masked_parameters():
    params = new_params()
    state = nmflow.jax.sparsify(optax.sgd(1.0), 2, 4).init(params)
    for put in (nmflow.jax.apply_masks, nmflow.jax.sparse_params):
        found = put(params, state)
        for path, mask in nmflow.jax.masks(state).items():
            values = np.asarray(leaf(params, path))
            assert np.array_equal(leaf(found, path), np.where(mask, values, 0)), path
            assert not np.signbit(np.asarray(leaf(found, path))[~np.asarray(mask)]).any()
        assert found["up"]["bias"] is params["up"]["bias"]
    tangent = jax.jvp(lambda p: nmflow.jax.apply_masks(p, state), (params,), (params,))[1]
    assert np.array_equal(tangent["up"]["kernel"], params["up"]["kernel"])


@pytest.mark.parametrize("decay", [2e-4, 0.5])
def test_sr_ste_is_its_definition(decay):
    """Against a step of momentum written out in numpy."""
    params = {"a": {"kernel": new_params()["up"]["kernel"]}}
    inputs = batches(3)
    rule = "sr-ste" if decay == 2e-4 else nmflow.jax.SRSTE(decay)
    tx = nmflow.jax.sparsify(optax.sgd(0.1, momentum=0.9), 2, 4, rule=rule, refresh=2)
    state = tx.init(params)

    def objective(p, s, x):
        return ((x @ nmflow.jax.apply_masks(p, s)["a"]["kernel"]) ** 2).mean()

    @jax.jit
    def step(p, s, x):
        updates, s = tx.update(jax.grad(objective)(p, s, x), s, p)
        return optax.apply_updates(p, updates), s

    weight = np.asarray(params["a"]["kernel"], np.float64)
    momentum = np.zeros_like(weight)
    mask = nmflow.solve(weight.astype(np.float32), 2, 4, axes=(1, 0))
    for count, x in enumerate(inputs, 1):
        params, state = step(params, state, x)
        x = np.asarray(x, np.float64)
        gradient = 2 * x.T @ (x @ (mask * weight)) / (len(x) * weight.shape[1])
        gradient += decay * ~mask * weight
        momentum = 0.9 * momentum + gradient
        weight -= 0.1 * momentum
        np.testing.assert_allclose(params["a"]["kernel"], weight, rtol=1e-4, atol=1e-6)
        if count % 2 == 0:
            mask = nmflow.solve(np.asarray(params["a"]["kernel"]), 2, 4, axes=(1, 0))


@pytest.mark.parametrize("rule", ["ste", "sr-ste"])
def test_fixed_masks_keep_parameters_sparse(rule):
    params = new_params()
    tx = nmflow.jax.sparsify(optax.adamw(1e-2, weight_decay=0.1), 4, 8, rule=rule, refresh=None)
    step, first = stepper(tx), tx.init(params)
    assert_solved(params, first, 4, 8)
    state = first
    for inputs in batches(4):
        params, state = step(params, state, inputs)
        moments = optax.tree_utils.tree_get(state, "mu")
        for path, mask in nmflow.jax.masks(state).items():
            assert np.array_equal(mask, nmflow.jax.masks(first)[path])
            pruned = ~np.asarray(mask)
            for tree in (params, moments):
                values = np.asarray(leaf(tree, path))
                assert (values[pruned] == 0).all(), path
                assert (values[~pruned] != 0).all(), path
    sparse = nmflow.jax.sparse_params(params, state)
    assert all(np.array_equal(leaf(sparse, p), leaf(params, p)) for p in PATHS)
    assert int(nmflow.jax.statistics(state).refreshes) == 1


def test_masks_freeze_after_the_last_refresh():
    params = new_params()
    policy = nmflow.jax.Refresh(every=2, until=5)
    tx = nmflow.jax.sparsify(optax.adam(1e-2), 4, 8, refresh=policy, **ROWS)
    step, state = stepper(tx), tx.init(params)
    for count, inputs in enumerate(batches(9), 1):
        params, state = step(params, state, inputs)
        zeros = int((params["up"]["kernel"] == 0).sum())
        assert zeros == (256 if count >= 5 else 0), count
        if count == 5:
            frozen = nmflow.jax.masks(state)
    assert int(nmflow.jax.statistics(state).step) == 5
    assert int(nmflow.jax.statistics(state).refreshes) == 4
    for path, mask in nmflow.jax.masks(state).items():
        assert np.array_equal(mask, frozen[path])
        assert ((np.asarray(leaf(params, path)) != 0) <= np.asarray(mask)).all()


def test_scores_of_your_own():
    params = new_params()

    def wanted(path, weight):
        return weight * (2.0 if path == "up/kernel" else -1.0)

    tx = nmflow.jax.sparsify(optax.sgd(1e-2), 2, 4, scores=wanted, refresh=1)
    state = tx.init(params)
    params, state = stepper(tx)(params, state, batches(1)[0])
    for path, mask in nmflow.jax.masks(state).items():
        values = np.asarray(wanted(path, leaf(params, path)))
        assert np.array_equal(mask, nmflow.solve(values, 2, 4, axes=(1, 0), score="raw"))
    assert all(each.optimal for each in tx.certify(params, state).values())


def test_several_patterns():
    params = new_params()
    tx = nmflow.jax.sparsify(optax.sgd(1e-2), PATTERNS, refresh=1, **ROWS)
    params, state = stepper(tx)(params, tx.init(params), batches(1)[0])
    masks = nmflow.jax.masks(state)
    for path, (n, m) in {"up/kernel": (2, 4), "down/kernel": (4, 8)}.items():
        wanted = nmflow.solve(np.asarray(leaf(params, path)), n, m, axes=(1, 0), **ROWS)
        assert np.array_equal(masks[path], wanted)
    layers = nmflow.jax.statistics(state).layers
    assert {path: int(layer.n) for path, layer in layers.items()} == {
        "down/kernel": 4,
        "up/kernel": 2,
    }


def test_masks_stay_where_parameters_are_not_finite():
    params = new_params()
    tx = nmflow.jax.sparsify(optax.sgd(1e-2), 2, 4, refresh=1, **ROWS)
    state = tx.init(params)
    updates = jax.tree.map(jnp.zeros_like, params)
    params["up"]["kernel"] = params["up"]["kernel"][::-1].at[3, 3].set(jnp.nan)
    params["down"]["kernel"] = params["down"]["kernel"][::-1]
    _, after = jax.jit(tx.update)(updates, state, params)
    assert np.array_equal(after.masks["up"]["kernel"], state.masks["up"]["kernel"])
    wanted = nmflow.solve(np.asarray(params["down"]["kernel"]), 2, 4, axes=(1, 0), **ROWS)
    assert np.array_equal(after.masks["down"]["kernel"], wanted)


def test_donated_buffers_give_the_same():
    plain, donated = new_params(), new_params()
    tx = nmflow.jax.sparsify(optax.adam(1e-2), 4, 8, refresh=2, **ROWS)
    step = stepper(tx)

    def body(params, state, inputs):
        return step(params, state, inputs)

    giving = jax.jit(body, donate_argnums=(0, 1))
    one, other = tx.init(plain), tx.init(donated)
    for inputs in batches(4):
        plain, one = step(plain, one, inputs)
        kept = donated["up"]["kernel"]
        donated, other = giving(donated, other, inputs)
        assert kept.is_deleted()
    assert all(
        map(np.array_equal, jax.tree.leaves((plain, one)), jax.tree.leaves((donated, other)))
    )


def test_many_steps_in_one_loop():
    """Under ``lax.scan`` as step by step."""
    tx = nmflow.jax.sparsify(optax.adam(1e-2), 4, 8, refresh=2, **ROWS)
    step, inputs = stepper(tx), batches(5)
    params = new_params()
    state = tx.init(params)
    scanned = jax.lax.scan(lambda c, x: (step(*c, x), None), (params, state), jnp.stack(inputs))[0]
    for x in inputs:
        params, state = step(params, state, x)
    masks = nmflow.jax.masks(scanned[1])
    for path, mask in nmflow.jax.masks(state).items():
        assert np.array_equal(mask, masks[path])
        assert np.array_equal(leaf(params, path), leaf(scanned[0], path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tx: nmflow.jax.sparsify(tx, 5, 4), r"n:m = 5:4"),
        (lambda tx: nmflow.jax.sparsify(tx, 4), "m is missing"),
        (lambda tx: nmflow.jax.sparsify(tx, {"*": 3}), "n must map globs to pairs"),
        (lambda tx: nmflow.jax.sparsify(tx, 2, 4, rule="srste"), "unknown rule"),
        (lambda tx: nmflow.jax.sparsify(tx, 2, 4, refresh=0), "at least 1"),
        (lambda tx: nmflow.jax.sparsify(tx, 2, 4, score="l3"), "score"),
        (lambda tx: nmflow.jax.sparsify(tx, 2, 4, score="raw", scores=abs), "takes the place"),
        (lambda tx: nmflow.jax.sparsify(tx, 2, 4, pattern="both"), "unknown pattern"),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises(nmflow.NmflowError, match=message):
        make(optax.sgd(1.0))


def test_what_update_needs():
    params = new_params()
    tx = nmflow.jax.sparsify(optax.sgd(1.0), 2, 4)
    with pytest.raises(nmflow.NmflowError, match=r"call update\(grads, state, params\)"):
        tx.update(params, tx.init(params))
    scores = nmflow.jax.sparsify(optax.sgd(1.0), 2, 4, scores=lambda path, w: w[:2])
    with pytest.raises(nmflow.NmflowError, match=r"scores\('down/kernel', weight\) must be floats"):
        scores.init(params)


def test_states_that_do_not_belong():
    params = new_params()
    with pytest.raises(nmflow.NmflowError, match=r"no state of nmflow\.jax\.sparsify"):
        nmflow.jax.apply_masks(params, optax.adam(1.0).init(params))
    state = nmflow.jax.sparsify(optax.sgd(1.0), 2, 4).init(params)
    with pytest.raises(
        nmflow.NmflowError, match=r"mask for 'down/kernel'.*nearest are 'up/kernel'"
    ):
        nmflow.jax.apply_masks({"up": params["up"]}, state)
    params["up"]["kernel"] = params["up"]["kernel"].T
    with pytest.raises(nmflow.NmflowError, match=r"'up/kernel' has shape \(16, 32\)"):
        nmflow.jax.apply_masks(params, state)


def test_without_optax(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    monkeypatch.delitem(sys.modules, "nmflow.jax.transformation")
    with pytest.raises(nmflow.MissingExtraError, match=r"nmflow\[jax\]"):
        nmflow.jax.sparsify(None, 2, 4)
