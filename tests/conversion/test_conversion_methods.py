"""Scores, SparseGPT and ADMM, each against its definition written out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conversion.layers import layer  # noqa: E402

import nmflow  # noqa: E402
from nmflow.torch import ALPS, OBS, RIA, LeastSquares, Magnitude, SparseGPT, Wanda  # noqa: E402

PATTERNS = ("transposable", "rows", "columns", "unstructured")
METHODS = (Magnitude(), Wanda(), RIA(), OBS(), SparseGPT(), ALPS())


def scores_written_out(name, weights, moments, norms):
    size = np.abs(weights)
    if name == "magnitude":
        return size
    if name == "wanda":
        return size * norms
    if name == "ria":
        by_row, by_column = size.sum(1, keepdims=True), size.sum(0, keepdims=True)
        return (size / by_row + size / by_column) * np.sqrt(norms)
    return weights**2 / np.diag(np.linalg.inv(moments))


@pytest.mark.parametrize("method", METHODS[:4], ids=lambda each: each.name)
def test_scores_are_their_definition(method):
    problem = layer()
    expected = scores_written_out(
        method.name,
        problem.weights[0].numpy(),
        problem.second_moments[0].numpy(),
        problem.norms[0].numpy(),
    )
    fit = method.fit(problem)
    np.testing.assert_allclose(fit.scores[0].numpy(), expected, rtol=1e-8)
    mask = nmflow.solve(expected.astype(np.float32), 2, 4, score="raw")
    assert np.array_equal(fit.mask[0].numpy(), mask)
    assert torch.equal(fit.weights, problem.weights * fit.mask)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("method", METHODS, ids=lambda each: each.name)
@pytest.mark.parametrize("zeros", [False, True])
def test_masks_are_of_the_pattern_and_proved(method, pattern, zeros):
    problem = layer(outputs=22, features=30, n=4, m=8, pattern=pattern, zeros=zeros)
    fit = method.fit(problem)
    certificate = nmflow.certify(fit.mask[0].float(), fit.mask[0], 4, 8, pattern=pattern)
    assert certificate.feasible
    assert certificate.full
    if fit.scores is not None:
        assert problem.project.certify(fit.scores, fit.mask).gap == 0
    assert not fit.weights[~problem.usable(fit.mask)].any()
    refitted = LeastSquares().refit(problem, fit)
    assert problem.error(refitted.weights) <= problem.error(fit.weights) * (1 + 1e-6)


def sparsegpt_written_out(weights, moments, n, m):
    """Column by column, as published, with masks for m columns at a time."""
    weights, factor = weights.copy(), np.linalg.cholesky(np.linalg.inv(moments)).T
    mask = np.zeros(weights.shape, bool)
    for first in range(0, weights.shape[1], m):
        block = slice(first, first + m)
        scores = (weights[:, block] / np.diag(factor)[block]) ** 2
        mask[:, block] = nmflow.solve(scores.astype(np.float32), n, m, score="raw")
        for j in range(first, min(first + m, weights.shape[1])):
            error = np.where(mask[:, j], 0, weights[:, j]) / factor[j, j]
            weights[:, j + 1 :] -= np.outer(error, factor[j, j + 1 :])
            weights[:, j] *= mask[:, j]
    return weights, mask


@pytest.mark.parametrize("features", [32, 30])
def test_sparsegpt_is_its_definition(features):
    problem = layer(features=features)
    weights, moments = problem.weights[0].numpy(), problem.second_moments[0].numpy()
    expected, mask = sparsegpt_written_out(weights, moments, 2, 4)
    fit = SparseGPT().fit(problem)
    assert np.array_equal(fit.mask[0].numpy(), mask)
    np.testing.assert_allclose(fit.weights[0].numpy(), expected, rtol=1e-8, atol=1e-10)


def admm_written_out(weights, moments, n, m, iterations):
    """Without eigenvectors, warm starts or scaling tricks."""
    scale = np.sqrt(np.diag(moments))
    weights, moments = weights * scale, moments / np.outer(scale, scale)

    def project(free):
        return free * nmflow.solve((free**2).astype(np.float32), n, m, score="raw")

    within, multiplier, rho = project(weights), np.zeros_like(weights), 0.1
    before, kept = within != 0, (within != 0).sum()
    for iteration in range(1, iterations + 1):
        right = weights @ moments - multiplier + rho * within
        free = right @ np.linalg.inv(moments + rho * np.eye(len(moments)))
        within = project(free + multiplier / rho)
        multiplier = multiplier + rho * (free - within)
        if iteration % 3 == 0:
            changed = ((within != 0) ^ before).sum() // 2 / kept
            before = within != 0
            if not changed:
                break
            rho *= 1.3 if changed > 0.1 else 1.2 if changed > 0.005 else 1.1
    return within / scale


def test_alps_is_its_definition():
    problem = layer()
    weights, moments = problem.weights[0].numpy(), problem.second_moments[0].numpy()
    for iterations in (1, 3, 12):
        fit = ALPS(iterations=iterations).fit(problem)
        expected = admm_written_out(weights, moments, 2, 4, iterations)
        np.testing.assert_allclose(fit.weights[0].numpy(), expected, rtol=2e-3, atol=1e-4)


def test_alps_ends_where_its_mask_stands_still():
    problem = layer(n=4, m=8)
    fit = ALPS().fit(problem)
    assert fit.history[-1]["changed"] == 0
    assert all(row["changed"] > 0 for row in fit.history[:-1])
    assert len({row["rho"] for row in fit.history}) == len(fit.history)
    refitted = LeastSquares().refit(problem, fit)
    alone = LeastSquares().refit(problem, Wanda().fit(problem))
    assert problem.error(refitted.weights) < problem.error(alone.weights)


def test_what_may_be_kept_is_kept_first():
    """Whatever others would score."""
    problem = layer(n=4, m=8)
    allowed = nmflow.solve(torch.rand(problem.weights.shape), 4, 8)
    problem.project.allowed = allowed
    scores = torch.rand(problem.weights.shape) + 10.0 * ~allowed
    assert torch.equal(problem.project(scores), allowed)
    assert torch.equal(problem.project.follow(scores), allowed)
    columns = slice(8, 16)
    assert torch.equal(problem.project.of_columns(scores, columns), allowed[:, :, columns])
    assert problem.project.certify(scores, allowed).gap == 0
