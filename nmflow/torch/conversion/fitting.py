"""From the moments of what a weight sees to its new values, and what they are worth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.proof.certificate import Certificate
from nmflow.solvers.interface import Method
from nmflow.torch.conversion.calibrating.moments import Moments
from nmflow.torch.conversion.methods.one_shot import Magnitude
from nmflow.torch.conversion.methods.problem import (
    ConversionMethod,
    Fit,
    LayerProblem,
    Reconstruction,
    quadratic,
)
from nmflow.torch.conversion.methods.projection import Projection
from nmflow.torch.conversion.targets import Target

# Of squares, what is left of them by rounding once means are taken off, with room.
_ROUNDED = 1e-10


@dataclass(frozen=True, slots=True)
class Recipe:
    """How each weight is converted.

    Attributes
    ----------
    method : ConversionMethod
    reconstruction : Reconstruction or None
    solver : Method
        Of :func:`nmflow.solve`.
    damping : float
        Part of the mean of H's diagonal that is added to it.
    bias_correction : bool
        Whether biases make up for what the means of inputs lose.
    keep_zeros : bool
        Whether weights that are 0 stay so.
    certify : bool
    dtype : dtype
        In which weights are calculated.
    """

    method: ConversionMethod
    reconstruction: Reconstruction | None
    solver: Method
    damping: float
    bias_correction: bool
    keep_zeros: bool
    certify: bool
    dtype: Any

    def __str__(self) -> str:
        refit = "" if self.reconstruction is None else f" + {self.reconstruction.name}"
        return self.method.name + refit

    @property
    def needs_inputs(self) -> bool:
        """Whether samples themselves are read, and not only their moments."""
        refits = self.reconstruction is not None and self.reconstruction.needs_inputs
        return self.method.needs_inputs or refits


@dataclass(frozen=True, slots=True)
class Outcome:
    """New values of a weight.

    Attributes
    ----------
    weight : Tensor
        Of the weight's shape.
    bias : Tensor or None
        Of the bias's shape; None where it stays.
    kept_share : float
        Of the scores, what the mask keeps; NaN without scores.
    masked_error, error : float
        Squared output error relative to the squared outputs (without their mean where there is a
        bias), of the mask alone and after the weights were refitted; NaN without samples.
    certificate : Certificate or None
    samples : int
    seconds : float
    note : str
    history : tuple of mapping
    """

    weight: Any
    bias: Any
    kept_share: float
    masked_error: float
    error: float
    certificate: Certificate | None
    samples: int
    seconds: float
    note: str
    history: tuple[Any, ...] = ()


@torch.no_grad()
def fit(target: Target, moments: Moments, recipe: Recipe) -> Outcome:
    """Find a weight's mask and its new values.

    Raises
    ------
    NmflowError
        If what the layer sees is not finite, or its second moments can't be factored.
    """
    began = time.perf_counter()
    dense = target.matrices.split(target.parameter.detach()).to(recipe.dtype)
    seen = _Seen.of(target, moments, recipe)
    problem = _problem(target, dense, seen, moments, recipe)
    try:
        found = recipe.method.fit(problem)
        if recipe.reconstruction is not None:
            found = recipe.reconstruction.refit(problem, found)
    except torch.linalg.LinAlgError as error:
        raise not_factored(target, moments, recipe, error) from error
    bias = None
    if seen.corrects_bias:
        lost = (dense @ seen.aim[:, :, None] - found.weights @ seen.mean[:, :, None]).flatten()
        bias = target.bias.detach().to(recipe.dtype).flatten() + lost + seen.mean_offset
    return Outcome(
        weight=target.matrices.join(found.weights),
        bias=bias,
        kept_share=_kept_share(found),
        masked_error=_error(problem, seen, problem.weights * problem.usable(found.mask)),
        error=_error(problem, seen, found.weights),
        certificate=_certificate(problem, found, recipe),
        samples=moments.samples,
        seconds=time.perf_counter() - began,
        note=_note(problem, moments),
        history=found.history,
    )


def not_factored(target: Target, moments: Moments, recipe: Recipe, error: Exception) -> NmflowError:
    """What to raise where second moments are not positive definite."""
    return NmflowError(
        f"{target.name}: the second moments of its {moments.samples} samples can't be factored"
        f" with damping {recipe.damping}: give more samples, or more damping ({error})"
    )


@torch.no_grad()
def by_magnitude(target: Target, recipe: Recipe) -> Outcome:
    """The mask of the largest weights, for a weight of which nobody knows what it sees."""
    began = time.perf_counter()
    dense = target.matrices.split(target.parameter.detach()).to(recipe.dtype)
    nothing = dense.new_zeros(0)
    project = Projection(target.matrices, target.pattern, recipe.solver)
    problem = LayerProblem(target.name, dense, nothing, nothing, project)
    found = Magnitude().fit(problem)
    return Outcome(
        weight=target.matrices.join(found.weights),
        bias=None,
        kept_share=_kept_share(found),
        masked_error=float("nan"),
        error=float("nan"),
        certificate=_certificate(problem, found, recipe),
        samples=0,
        seconds=time.perf_counter() - began,
        note="what it sees is not known: the largest weights are kept as they are",
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Means and moments, ready for use.

    Attributes
    ----------
    second : Tensor (groups, features, features)
        Damped, and without means where the bias takes them over.
    cross : Tensor (groups, features, features) or None
        Damped as ``second``.
    corrects_bias : bool
    norms : Tensor (groups, features)
    mean, aim : Tensor (groups, features)
        Of what the layer sees, and of what the dense model's does.
    damping : Tensor (groups,)
        What the diagonals of ``second`` and ``cross`` have in addition.
    offset : Tensor (1, outputs, features) or 0
        Of what the dense model adds to the outputs beyond what is added now, with the inputs.
    mean_offset : Tensor (outputs,) or 0
        Of that itself.
    """

    second: Any
    cross: Any
    corrects_bias: bool
    norms: Any
    mean: Any
    aim: Any
    damping: Any
    offset: Any = 0
    mean_offset: Any = 0

    @classmethod
    def of(cls, target: Target, moments: Moments, recipe: Recipe) -> _Seen:
        corrects = recipe.bias_correction and target.bias is not None
        second, cross = moments.second(corrects), moments.cross(corrects)
        offset, mean_offset = moments.offset(corrects)
        mean, aim = moments.mean(), moments.dense_mean()
        if not bool(torch.isfinite(second).all() & torch.isfinite(aim).all()):
            raise NmflowError(
                f"{target.name}: what it sees of the calibration is not finite; look for NaN in"
                " the model's weights, or for an overflow of its dtype"
            )
        variances = second.diagonal(dim1=-2, dim2=-1)
        norms = (variances + mean.square() * corrects).clamp_min(0).sqrt()
        power = variances.mean(-1)
        # What varies less than its size is rounded by does not vary.
        power = torch.maximum(power, _ROUNDED * norms.square().mean(-1))
        power = torch.where(power > 0, power, 1.0)
        damping = recipe.damping * power
        added = torch.diag_embed(damping[:, None].expand(norms.shape))
        second = (second + added).to(recipe.dtype)
        cross = None if cross is None else (cross + added).to(recipe.dtype)
        dtype = recipe.dtype
        return cls(
            second,
            cross,
            corrects,
            norms=norms.to(dtype),
            mean=mean.to(dtype),
            aim=aim.to(dtype),
            damping=damping.to(dtype),
            offset=0 if offset is None else offset.to(dtype),
            mean_offset=0 if mean_offset is None else mean_offset.flatten().to(dtype),
        )


def second_moments(target: Target, moments: Moments, recipe: Recipe) -> Any:
    """H (groups, features, features) of the problem that :func:`fit` solves.

    Raises
    ------
    NmflowError
        If what the layer sees is not finite.
    """
    return _Seen.of(target, moments, recipe).second


def _problem(
    target: Target, dense: Any, seen: _Seen, moments: Moments, recipe: Recipe
) -> LayerProblem:
    allowed = dense != 0 if recipe.keep_zeros else None
    weights = dense
    if seen.cross is not None:
        # What gives the dense outputs from the inputs that there are now, as nearly as can be.
        aim = dense @ seen.cross + seen.offset
        weights = torch.linalg.solve(seen.second, aim, left=False)
    return LayerProblem(
        target.name,
        weights,
        seen.second,
        seen.norms,
        Projection(target.matrices, target.pattern, recipe.solver, allowed),
        moments.inputs(),
    )


def _error(problem: LayerProblem, seen: _Seen, weights: Any) -> float:
    """Relative, without what damping adds."""

    def squared(values: Any) -> float:
        damped = (seen.damping * values.square().sum((1, 2))).sum()
        return max(quadratic(values, problem.second_moments) - float(damped), 0.0)

    lost, whole = squared(problem.weights - weights), squared(problem.weights)
    return lost / whole if whole else 0.0


def _kept_share(found: Fit) -> float:
    if found.scores is None:
        return float("nan")
    scores = found.scores.to(torch.float64)
    total = float(scores.sum())
    return float((scores * found.mask).sum()) / total if total else 1.0


def _certificate(problem: LayerProblem, found: Fit, recipe: Recipe) -> Certificate | None:
    if not recipe.certify or found.scores is None:
        return None
    return problem.project.certify(found.scores, found.mask)


def _note(problem: LayerProblem, moments: Moments) -> str:
    features = problem.weights.shape[2]
    if moments.samples >= features:
        return ""
    return f"{moments.samples} samples for {features} features: damping decides the rest"
