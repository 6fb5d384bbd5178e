"""What a method of conversion is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from nmflow.torch.conversion.methods.projection import Projection


@dataclass(frozen=True, slots=True)
class LayerProblem:
    """One weight to be converted: min over W' in the pattern of tr((W - W') H (W - W')').

    Attributes
    ----------
    name : str
        Of the weight.
    weights : Tensor (groups, outputs, features), float32 or float64
        W, what the layer should compute with: the dense weights, or those that give the dense
        model's outputs from the inputs that the layer has now.
    second_moments : Tensor (groups, features, features)
        H, of the inputs that the layer sees, their mean over samples, damped; without the part
        that a bias takes over, where there is one.
    norms : Tensor (groups, features)
        Root of the mean square of each feature, not damped and bias or none.
    project : Projection
        From scores to the mask.
    inputs : Tensor (groups, samples, features) or None
        A sample of the inputs themselves, for methods with ``needs_inputs``.
    """

    name: str
    weights: Any
    second_moments: Any
    norms: Any
    project: Projection
    inputs: Any = None

    def usable(self, mask: Any) -> Any:
        """What of a mask may hold anything but 0."""
        allowed = self.project.allowed
        return mask if allowed is None else mask & allowed

    def error(self, weights: Any) -> float:
        """The relative error of the outputs of other weights, by the damped moments."""
        return quadratic(self.weights - weights, self.second_moments) / max(
            quadratic(self.weights, self.second_moments), 1e-300
        )


def quadratic(weights: Any, moments: Any) -> float:
    """tr(W H W'), summed over groups."""
    return float(((weights @ moments) * weights).sum())


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights under a mask.

    Attributes
    ----------
    weights : Tensor (groups, outputs, features)
        0 where the mask prunes.
    mask : bool Tensor (groups, outputs, features)
    scores : Tensor (groups, outputs, features) or None
        What the mask keeps most of; None where it was found piece by piece, and is the best of
        no scores in particular.
    history : tuple of mapping
        Of methods with iterations: a mapping of names to numbers for each.
    note : str
    """

    weights: Any
    mask: Any
    scores: Any
    history: tuple[Mapping[str, float], ...] = field(default=())
    note: str = ""


@runtime_checkable
class ConversionMethod(Protocol):
    """How a weight gets its mask, and new values if it finds both together.

    Attributes
    ----------
    name, source, guarantee : str
        What it is called, where it is from, and what holds of its result.
    needs_inputs : bool
        Whether it reads ``LayerProblem.inputs``.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    guarantee: ClassVar[str]
    needs_inputs: ClassVar[bool]

    def fit(self, problem: LayerProblem) -> Fit:
        """Find a mask, and weights under it."""
        ...


@runtime_checkable
class Reconstruction(Protocol):
    """How the weights under a mask are refitted; the mask stays."""

    name: ClassVar[str]
    needs_inputs: ClassVar[bool]

    def refit(self, problem: LayerProblem, fit: Fit) -> Fit:
        """Other weights under the same mask."""
        ...
