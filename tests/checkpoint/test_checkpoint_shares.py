"""What other patterns would keep, by partial selection, is what their masks keep."""

import math

import numpy as np
import pytest

import nmflow
from nmflow.checkpoint.shares import optimal_value, total_score
from nmflow.problem.pattern import Pattern


def scores_of(weights, score):
    wide = weights.astype(np.float64)
    return {"abs": np.abs(wide), "square": wide**2, "raw": wide}[score]


@pytest.mark.parametrize("pattern", ["unstructured", "rows", "columns"])
@pytest.mark.parametrize("score", ["abs", "square", "raw"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((16, 24), (0, 1)), ((13, 11), (1, 0)), ((9, 10, 3, 2), (0, 1)), ((2, 5, 7), (1, 2))],
)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 8), (4, 4), (1, 16)])
def test_what_the_best_mask_keeps(rng, pattern, score, dtype, shape, axes, n, m):
    weights = np.round(rng.standard_normal(shape), 1).astype(dtype)
    before = weights.copy()
    mask = nmflow.solve(weights, n, m, pattern=pattern, axes=axes, score=score)
    kept = math.fsum(scores_of(weights, score)[mask])
    found = optimal_value(weights, Pattern(n, m, pattern), axes, score, 1)
    assert found == pytest.approx(kept, rel=1e-12, abs=1e-12)
    assert np.array_equal(weights, before)


@pytest.mark.parametrize("pattern", ["rows", "columns"])
def test_large_matrices_go_block_by_block(rng, pattern):
    weights = rng.standard_normal((1030, 2050)).astype(np.float32)
    mask = nmflow.solve(weights, 2, 4, pattern=pattern)
    found = optimal_value(weights, Pattern(2, 4, pattern), (0, 1), "abs", 1)
    assert found == pytest.approx(np.abs(weights)[mask].sum(dtype=np.float64), rel=1e-12)


@pytest.mark.parametrize("score", ["abs", "square", "raw"])
def test_the_total_is_of_positive_scores(rng, score):
    weights = (1e4 * rng.standard_normal((1500, 1000))).astype(np.float16)
    scores = scores_of(weights, score)
    assert total_score(weights, score) == pytest.approx(scores[scores > 0].sum(), rel=1e-12)
