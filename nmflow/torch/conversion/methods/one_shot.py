"""A mask by importance alone; the kept weights stay as they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from nmflow.errors import NmflowError
from nmflow.torch.conversion.methods import importance
from nmflow.torch.conversion.methods.problem import Fit, LayerProblem


@dataclass(frozen=True, slots=True)
class _OneShot(ABC):
    """A mask by scores; see the classes below."""

    guarantee: ClassVar[str] = "the mask keeps most of the scores"
    needs_inputs: ClassVar[bool] = False

    @abstractmethod
    def scores(self, problem: LayerProblem) -> Any:
        """Importance scores (groups, outputs, features)."""

    def fit(self, problem: LayerProblem) -> Fit:
        """The best mask of the scores, and the weights that it keeps."""
        scores = self.scores(problem)
        mask = problem.project(scores)
        return Fit(problem.weights * problem.usable(mask), mask, scores)


@dataclass(frozen=True, slots=True)
class Magnitude(_OneShot):
    """Masks by the size of weights."""

    name: ClassVar[str] = "magnitude"
    source: ClassVar[str] = "Hubara et al., NeurIPS 2021"

    def scores(self, problem: LayerProblem) -> Any:
        """See :func:`nmflow.torch.conversion.methods.importance.magnitude`."""
        return importance.magnitude(problem)


@dataclass(frozen=True, slots=True)
class Wanda(_OneShot):
    """Masks by the size of weights times the norm of their inputs."""

    name: ClassVar[str] = "wanda"
    source: ClassVar[str] = "Sun, Liu, Bair & Kolter, ICLR 2024"

    def scores(self, problem: LayerProblem) -> Any:
        """See :func:`nmflow.torch.conversion.methods.importance.wanda`."""
        return importance.wanda(problem)


@dataclass(frozen=True, slots=True)
class RIA(_OneShot):
    """Masks by relative importance and activations.

    Attributes
    ----------
    exponent : float, default 0.5
        Of the norm of inputs.
    """

    exponent: float = 0.5
    name: ClassVar[str] = "ria"
    source: ClassVar[str] = "Zhang et al., ICLR 2024"

    def scores(self, problem: LayerProblem) -> Any:
        """See :func:`nmflow.torch.conversion.methods.importance.ria`."""
        return importance.ria(problem, self.exponent)


@dataclass(frozen=True, slots=True)
class OBS(_OneShot):
    """Masks by the error that the loss of one weight leaves once the others have made up for it."""

    name: ClassVar[str] = "obs"
    source: ClassVar[str] = "Hassibi & Stork, NIPS 1992"

    def scores(self, problem: LayerProblem) -> Any:
        """See :func:`nmflow.torch.conversion.methods.importance.obs`."""
        return importance.obs(problem)


@dataclass(frozen=True, slots=True)
class UserScores(_OneShot):
    """Masks by a function of the user's.

    Attributes
    ----------
    function : callable of LayerProblem
    """

    function: Callable[[LayerProblem], Any]
    name: ClassVar[str] = "scores of the user"
    source: ClassVar[str] = "the user"

    def scores(self, problem: LayerProblem) -> Any:
        """What the function says, checked.

        Raises
        ------
        NmflowError
            For anything but finite numbers >= 0 of the shape of ``problem.weights``.
        """
        scores, shape = self.function(problem), tuple(problem.weights.shape)
        if not isinstance(scores, torch.Tensor) or tuple(scores.shape) != shape:
            got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            raise NmflowError(
                f"scores of {problem.name}: expected a tensor of shape {shape}, that of"
                f" problem.weights, got {got}"
            )
        if not bool((torch.isfinite(scores) & (scores >= 0)).all()):
            raise NmflowError(
                f"scores of {problem.name}: all must be finite and >= 0, the lowest is"
                f" {float(scores.min())}"
            )
        return scores.to(problem.weights)
