"""One layer to convert, and what it sees, in float64."""

import pytest

torch = pytest.importorskip("torch")

from nmflow.models import Layout  # noqa: E402
from nmflow.problem.pattern import Pattern  # noqa: E402
from nmflow.solvers.registry import find_method  # noqa: E402
from nmflow.torch import LayerProblem  # noqa: E402
from nmflow.torch.conversion.matrices import Matrices  # noqa: E402
from nmflow.torch.conversion.methods.projection import Projection  # noqa: E402


def correlated(samples, features, seed=0):
    """Samples of features of different sizes that depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(features, features, generator=generator, dtype=torch.float64)
    sizes = torch.logspace(-1, 1, features, dtype=torch.float64)
    rows = torch.randn(samples, features, generator=generator, dtype=torch.float64)
    return rows @ (mix / features**0.5 + torch.eye(features)) * sizes


def layer(
    outputs=24, features=32, n=2, m=4, pattern="transposable", samples=200, seed=0, zeros=False
):
    """A problem, with its samples in ``inputs``."""
    generator = torch.Generator().manual_seed(seed + 1)
    weights = torch.randn(1, outputs, features, generator=generator, dtype=torch.float64)
    allowed = torch.rand(weights.shape, generator=generator) < 0.6 if zeros else None
    if zeros:
        weights = weights * allowed
    inputs = correlated(samples, features, seed)[None]
    second = inputs.mT @ inputs / samples
    damped = second + 0.01 * second.diagonal(dim1=1, dim2=2).mean() * torch.eye(features)
    matrices = Matrices((outputs, features), Layout())
    project = Projection(matrices, Pattern(n, m, pattern), find_method("flow"), allowed)
    norms = second.diagonal(dim1=1, dim2=2).sqrt()
    return LayerProblem("weight", weights, damped, norms, project, inputs)
