"""Time and memory of each method on single layers with random inputs, one core."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.conversion.process import alone, timed

# Outputs and features.
SHAPES = ((512, 512), (1024, 1024), (2048, 2048), (4096, 4096))
# Beyond that a layer takes Adam the better part of an hour.
_LARGEST_FOR_ADAM = 1024
WAYS = (
    ("wanda", None),
    ("wanda", "adam"),
    ("wanda", "least-squares"),
    ("sparsegpt", None),
    ("alps", "least-squares"),
)


def measures(known: list[dict[str, Any]]) -> dict[str, Callable[[], dict[str, Any]]]:
    """What makes a row for each shape and way that is not known yet, at 8:16 transposable."""
    done = {(tuple(row["shape"]), row["method"], row["reconstruction"]) for row in known}
    return {
        f"{shape[0]}-{method}-{reconstruction}": partial(_row, shape, method, reconstruction)
        for shape in SHAPES
        for method, reconstruction in WAYS
        if reconstruction != "adam" or shape[0] <= _LARGEST_FOR_ADAM
        if (shape, method, reconstruction) not in done
    }


def _row(shape: tuple[int, int], method: str, reconstruction: str | None) -> dict[str, Any]:
    row = {"shape": list(shape), "method": method, "reconstruction": reconstruction}
    return row | alone(_measure, shape, method, reconstruction)


def _measure(shape: tuple[int, int], method: str, reconstruction: str | None) -> dict[str, Any]:
    import torch

    from nmflow.models import Layout
    from nmflow.problem.pattern import Pattern
    from nmflow.solvers.registry import find_method as find_solver
    from nmflow.torch.conversion.matrices import Matrices
    from nmflow.torch.conversion.methods.problem import LayerProblem
    from nmflow.torch.conversion.methods.projection import Projection
    from nmflow.torch.conversion.methods.registry import find_method, find_reconstruction

    torch.set_num_threads(1)
    chosen = find_method(method)
    refit = find_reconstruction(reconstruction, chosen)
    _, features = shape
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(1, *shape, generator=generator)
    inputs = torch.randn(2 * features, features, generator=generator)
    # Features that depend on each other, each on its neighbours, and are of different sizes.
    inputs = (inputs + inputs.roll(1, 1) + inputs.roll(7, 1)) * torch.logspace(-1, 1, features)
    second = (inputs.mT @ inputs / len(inputs))[None].double()
    damped = second + 0.01 * second.diagonal(dim1=1, dim2=2).mean() * torch.eye(features)
    project = Projection(Matrices(shape, Layout()), Pattern(8, 16), find_solver("flow"))
    norms = second.diagonal(dim1=1, dim2=2).sqrt()
    problem = LayerProblem("layer", weights.double(), damped, norms, project, inputs[None])
    small = project(torch.rand(1, 32, features))  # compiled
    project.follow(torch.rand(weights.shape))
    fits: list[Any] = [small]

    def work() -> None:
        fit = chosen.fit(problem)
        fits.append(fit if refit is None else refit.refit(problem, fit))

    seconds, beyond = timed(work)
    return {
        "seconds": seconds,
        "bytes_beyond": beyond,
        "error": problem.error(fits[-1].weights),
        "iterations": len(fits[-1].history),
    }
