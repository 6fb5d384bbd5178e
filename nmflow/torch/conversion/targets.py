"""A weight on its way from dense to n:m: where it stands, and what it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nmflow.errors import NmflowError
from nmflow.problem.pattern import Pattern
from nmflow.torch.conversion.calibrating.features import CONVOLUTIONS
from nmflow.torch.conversion.matrices import Matrices
from nmflow.torch.selecting.select import Weight
from nmflow.torch.selecting.sites import Site


class Target:
    """A weight to be converted, and the bias that may make up for its loss.

    Attributes
    ----------
    weight : Weight
    matrices : Matrices
    bias : Parameter or None
        Of the one layer that has the weight; none where several share it.
    converted : bool
        Whether the model has its new values.
    """

    def __init__(self, weight: Weight) -> None:
        self.weight = weight
        self.matrices = Matrices(tuple(weight.parameter.shape), weight.layout)
        self.bias: Any = _bias(weight.sites[0]) if len(weight.sites) == 1 else None
        self.converted = False
        self._others: list[Any] = []
        if weight.parameter.is_meta:
            raise NmflowError(
                f"{self.name} is on the meta device: convert the model once its weights have values"
            )

    @property
    def name(self) -> str:
        """Of the weight, in the model."""
        return self.weight.name

    @property
    def pattern(self) -> Pattern:
        """What its mask is to be."""
        return self.weight.pattern

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where it stands in the model."""
        return self.weight.sites

    @property
    def can_be_seen(self) -> bool:
        """Whether what it is multiplied by is what its module is called with.

        Not so for experts that are stacked in one tensor: their module sees all tokens.
        """
        stacked = self.matrices.features != self.matrices.inputs
        return not stacked or all(isinstance(site.module, CONVOLUTIONS) for site in self.sites)

    @property
    def parameter(self) -> Any:
        """The weight, as the model has it now."""
        return self.weight.parameter

    @torch.no_grad()
    def write(self, values: Any, bias: Any, keep_dense: bool) -> None:
        """Give the model new values, in the parameters that it has.

        Parameters
        ----------
        values : Tensor
            Of the weight's shape.
        bias : Tensor or None
            Of the bias's shape; None leaves it as it is.
        keep_dense : bool
            Whether :func:`dense` is to find the old ones.
        """
        pairs = [(self.parameter, values)] + ([] if bias is None else [(self.bias, bias)])
        before = [(parameter, parameter.detach().clone()) for parameter, _ in pairs]
        try:
            for parameter, new in pairs:
                parameter.copy_(new)
        except BaseException:
            # An interrupt must not part a weight from its bias.
            for parameter, old in before:
                parameter.copy_(old)
            raise
        self._others = before if keep_dense else []
        self.converted = True

    def exchange(self) -> None:
        """Let the model have its dense values, if they were kept; and again the new ones."""
        self._others = [(each, _exchange(each, other)) for each, other in self._others]

    def forget_dense(self) -> None:
        """Free the dense values."""
        self._others = []


def _exchange(parameter: Any, other: Any) -> Any:
    here, parameter.data = parameter.data, other
    return here


def _bias(site: Site) -> Any:
    """The bias that is added to the products of a weight; None where there is none."""
    name = "in_proj_bias" if site.tensor == "in_proj_weight" else "bias"
    if site.tensor not in ("weight", "in_proj_weight"):
        return None
    return site.module._parameters.get(name)


@contextmanager
def dense(targets: Iterable[Target]) -> Iterator[None]:
    """Let the model compute with its dense weights for a while."""
    changed = list(targets)
    for target in changed:
        target.exchange()
    try:
        yield
    finally:
        for target in changed:
            target.exchange()
