"""What JAX does with functions: ``jit``, ``vmap``, ``grad``, ``scan``; and errors."""

import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import nmflow  # noqa: E402
import nmflow.jax  # noqa: E402
from nmflow.lax import solve as solving  # noqa: E402

jnp = jax.numpy


@pytest.fixture
def traces(monkeypatch):
    """The shapes that were traced, which is what each was compiled for."""
    seen, solve_matrices = [], solving.solve_matrices

    def spy(bits, problem):
        seen.append(bits.shape)
        return solve_matrices(bits, problem)

    monkeypatch.setattr(solving, "solve_matrices", spy)
    return seen


def normal(rng, *shape):
    return jnp.asarray(rng.standard_normal(shape).astype(np.float32))


def test_one_compilation_for_each_shape(traces, rng):
    for _ in range(3):
        weights = normal(rng, 12, 15)
        assert np.array_equal(nmflow.jax.solve(weights, 1, 2), nmflow.solve(weights, 1, 2))
    assert traces == [(1, 12, 15)]
    jitted = jax.jit(lambda w: w * nmflow.solve(w, 1, 2))
    for _ in range(3):
        weights = normal(rng, 12, 15)
        assert np.array_equal(jitted(weights), weights * nmflow.solve(weights, 1, 2))
    assert len(traces) == 1


def test_vmap_is_a_batch(traces, rng):
    weights = normal(rng, 2, 3, 8, 8)
    solve = jax.vmap(jax.vmap(lambda w: nmflow.jax.solve(w, 2, 4), in_axes=2, out_axes=2))
    found = jax.jit(solve)(weights.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(found, nmflow.solve(weights, 2, 4))
    # Of one and of two levels: what is compiled is the last.
    assert traces[-1] == (6, 8, 8)


def test_gradients_go_around_the_mask(rng):
    weights = normal(rng, 3, 8, 8)

    def loss(w):
        def step(total, matrix):
            return total + (jnp.where(nmflow.solve(matrix, 2, 4), matrix, 0) ** 2).sum(), None

        return jax.lax.scan(step, 0.0, w)[0]

    mask = nmflow.solve(weights, 2, 4)
    assert jnp.array_equal(jax.jit(jax.grad(loss))(weights), jnp.where(mask, 2 * weights, 0))
    _, moved = jax.jvp(
        jax.checkpoint(lambda w: w * nmflow.jax.solve(w, 2, 4)), (weights,), (weights,)
    )
    assert jnp.array_equal(moved, jnp.where(mask, weights, 0))


@pytest.mark.parametrize("pattern", ["transposable", "rows", "unstructured"])
def test_nan_raises_where_it_has_a_value_and_leaves_nothing_where_it_has_none(pattern, rng):
    weights = normal(rng, 2, 8, 8).at[1, 5, 6].set(jnp.nan).at[1, 5, 7].set(jnp.inf)
    with pytest.raises(nmflow.NmflowError, match=r"nan at index \(1, 5, 6\)"):
        nmflow.jax.solve(weights, 2, 4, pattern=pattern)
    found = jax.jit(lambda w: nmflow.jax.solve(w, 2, 4, pattern=pattern))(weights)
    around = {"transposable": np.s_[1, 4:, 4:], "rows": np.s_[1, 5, 4:], "unstructured": np.s_[1]}
    expected = np.array(nmflow.solve(weights.at[1, 5, 6:].set(0), 2, 4, pattern=pattern))
    expected[around[pattern]] = False
    assert np.array_equal(found, expected)


def test_what_xla_cannot_solve_is_said():
    weights = jnp.zeros((8, 80))
    with pytest.raises(nmflow.NmflowError, match=r"\(8, 80\) and dtype float32 for 2:40 .*m <= 32"):
        nmflow.jax.solve(weights, 2, 40)
    with pytest.raises(nmflow.NmflowError, match=r"2:40 .*m <= 32"):
        jax.jit(lambda w: nmflow.solve(w, 2, 40))(weights)
    with pytest.raises(nmflow.NmflowError, match="at least 2 dimensions"):
        nmflow.jax.solve(weights[0], 2, 4)
    with pytest.raises(nmflow.NmflowError, match="two different axes from -2 to 1"):
        nmflow.jax.solve(weights, 2, 4, axes=(0, 2))
    with pytest.raises(nmflow.NmflowError, match="complex64"):
        nmflow.jax.solve(weights.astype(jnp.complex64), 2, 4)
    with pytest.raises(nmflow.NmflowError, match="unknown score 'cube'"):
        nmflow.jax.solve(weights, 2, 4, score="cube")
    with pytest.raises(nmflow.NmflowError, match="float64 would be rounded to float32"):
        nmflow.jax.solve(np.zeros((8, 8)), 2, 4)


def test_arrays_on_the_cpu_keep_the_engine(monkeypatch, rng):
    monkeypatch.setattr(solving, "solve", None)
    weights = normal(rng, 8, 8)
    assert isinstance(nmflow.solve(weights, 2, 4), jax.Array)


def test_arrays_elsewhere_are_solved_there(monkeypatch, rng):
    seen, solve = [], solving.solve

    def spy(*args):
        seen.append(args)
        return solve(*args)

    monkeypatch.setattr(solving, "solve", spy)
    module = sys.modules["nmflow.solve"]
    monkeypatch.setattr(
        module, "on_accelerator", lambda array: isinstance(array, jax.Array) and "jax"
    )
    weights = normal(rng, 8, 80)
    assert np.array_equal(
        nmflow.solve(weights, 3, 4, pattern="rows"),
        nmflow.solve(np.asarray(weights), 3, 4, pattern="rows"),
    )
    assert len(seen) == 1
    # What XLA can't solve goes through the host, as constraints do.
    nmflow.solve(weights, 2, 40)
    nmflow.solve(weights, 2, 4, within=weights > 0, at_most=True)
    assert len(seen) == 1


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_without_jax():
    done = run("import sys; sys.modules['jax'] = None; import nmflow; import nmflow.jax")
    assert "MissingExtraError: nmflow.jax needs packages" in done.stderr
    assert "nmflow[jax]" in done.stderr


def test_too_old_a_jax():
    code = "import types, sys; sys.modules['jax'] = types.SimpleNamespace(__version__='0.6.2')"
    done = run(f"{code}; import nmflow.jax")
    line = done.stderr.splitlines()[-1]
    assert "needs JAX 0.7.0 or later, and 0.6.2 is installed" in line
