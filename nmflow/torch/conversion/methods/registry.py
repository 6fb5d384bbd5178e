"""Methods of conversion, and ways to refit weights, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nmflow.errors import NmflowError
from nmflow.torch.conversion.methods.adam import Adam
from nmflow.torch.conversion.methods.alps import ALPS
from nmflow.torch.conversion.methods.least_squares import LeastSquares
from nmflow.torch.conversion.methods.one_shot import (
    OBS,
    RIA,
    Magnitude,
    UserScores,
    Wanda,
)
from nmflow.torch.conversion.methods.problem import (
    ConversionMethod,
    LayerProblem,
    Reconstruction,
)
from nmflow.torch.conversion.methods.sparsegpt import SparseGPT


@dataclass(frozen=True, slots=True)
class AdaPrune(Magnitude):
    """Masks by the size of weights, refitted by Adam unless another reconstruction is asked for."""

    name: ClassVar[str] = "adaprune"
    source: ClassVar[str] = "Hubara et al., NeurIPS 2021, sec. 4"


METHODS: Mapping[str, ConversionMethod] = {
    each.name: each
    for each in (Magnitude(), Wanda(), RIA(), OBS(), AdaPrune(), SparseGPT(), ALPS())
}
RECONSTRUCTIONS: Mapping[str, Reconstruction] = {
    each.name: each for each in (LeastSquares(), Adam())
}

MethodChoice = str | ConversionMethod | Callable[[LayerProblem], Any]
ReconstructionChoice = str | Reconstruction | None


def find_method(method: MethodChoice) -> ConversionMethod:
    """The method that a name, an object or a function of scores means.

    Raises
    ------
    NmflowError
        For an unknown name, with the nearest.
    """
    if isinstance(method, str):
        named: ConversionMethod = _by_name("method", method, METHODS)
        return named
    if isinstance(method, ConversionMethod):
        return method
    if callable(method):
        return UserScores(method)
    raise NmflowError(
        f"method must be a name ({', '.join(METHODS)}), a method or a function of a LayerProblem"
        f" that gives scores, got {method!r}"
    )


def find_reconstruction(
    reconstruction: ReconstructionChoice, method: ConversionMethod
) -> Reconstruction | None:
    """The reconstruction that a name or an object means; ``"auto"`` is the method's own.

    Raises
    ------
    NmflowError
        For an unknown name, with the nearest.
    """
    if reconstruction == "auto":
        return Adam() if isinstance(method, AdaPrune) else LeastSquares()
    if isinstance(reconstruction, str):
        named: Reconstruction = _by_name("reconstruction", reconstruction, RECONSTRUCTIONS)
        return named
    if reconstruction is None or isinstance(reconstruction, Reconstruction):
        return reconstruction
    raise NmflowError(
        f"reconstruction must be one of {', '.join(RECONSTRUCTIONS)}, None or an object with"
        f" refit, got {reconstruction!r}"
    )


def _by_name(option: str, name: str, table: Mapping[str, Any]) -> Any:
    if name in table:
        return table[name]
    nearest = difflib.get_close_matches(name, table, 1, 0)[0]
    raise NmflowError(
        f"unknown {option} {name!r}: there are {', '.join(table)}; the nearest is {nearest!r}"
    )
