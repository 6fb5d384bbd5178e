"""The closed form of AdaPrune, against numpy's dense solver and against Adam."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conversion.layers import layer  # noqa: E402

from nmflow.torch import Adam, LeastSquares, Magnitude, Wanda  # noqa: E402
from nmflow.torch.conversion.methods.least_squares import least_squares  # noqa: E402


def dense_solution(weights, moments, mask):
    """Row by row, by numpy's own solver."""
    found = np.zeros(weights.shape)
    for row, (w, support) in enumerate(zip(weights.numpy(), mask.numpy(), strict=True)):
        h = moments.numpy()
        found[row, support] = np.linalg.solve(h[np.ix_(support, support)], (w @ h)[support])
    return found


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("pattern", ["transposable", "unstructured"])
@pytest.mark.parametrize("zeros", [False, True])
def test_equals_a_dense_solve(solver, pattern, zeros):
    problem = layer(pattern=pattern, zeros=zeros)
    masked = Wanda().fit(problem)
    exact = LeastSquares(solver, tolerance=1e-10, iterations=2000)
    fit = exact.refit(problem, masked)
    support = problem.usable(masked.mask)
    expected = dense_solution(problem.weights[0], problem.second_moments[0], support[0])
    np.testing.assert_allclose(
        fit.weights[0].numpy(), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max()
    )
    assert not fit.weights[~support].any()


def test_rows_that_keep_nothing_and_rows_that_keep_all():
    problem = layer(outputs=4, features=8)
    mask = torch.zeros(4, 8, dtype=torch.bool)
    mask[1], mask[2, 3] = True, True
    found = least_squares(problem.weights[0], problem.second_moments[0], mask)
    expected = dense_solution(problem.weights[0], problem.second_moments[0], mask)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found[1], problem.weights[0, 1])
    assert not found[0].any()


def test_more_rows_than_fit_in_memory_at_once(monkeypatch):
    problem = layer()
    fit = Wanda().fit(problem)
    whole = LeastSquares().refit(problem, fit).weights
    module = "nmflow.torch.conversion.methods.least_squares._CHUNK_BYTES"
    monkeypatch.setattr(module, 5 * 16 * 16 * 4)
    assert torch.equal(LeastSquares().refit(problem, fit).weights, whole)


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_conjugate_gradients_never_make_it_worse(iterations):
    problem = layer()
    masked = Magnitude().fit(problem)
    fit = LeastSquares("cg", iterations=iterations).refit(problem, masked)
    assert problem.error(fit.weights) < problem.error(masked.weights)


@pytest.mark.parametrize("steps", [1, 30, 600])
def test_never_worse_than_adam(steps):
    problem = layer()
    masked = Magnitude().fit(problem)
    exact = problem.error(LeastSquares().refit(problem, masked).weights)
    adam = Adam(steps=steps).refit(problem, masked)
    assert exact <= problem.error(adam.weights) < problem.error(masked.weights)
    assert torch.equal(adam.weights != 0, masked.mask)


def test_fewer_samples_than_features():
    problem = layer(samples=10)
    fit = LeastSquares().refit(problem, Wanda().fit(problem))
    assert torch.isfinite(fit.weights).all()
    assert problem.error(fit.weights) < problem.error(Wanda().fit(problem).weights)
