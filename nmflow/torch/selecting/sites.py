"""The places in a model where parameters stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the model where a parameter stands.

    Attributes
    ----------
    module_name : str
    module : Module
    tensor : str
        The parameter's name in the module.
    parameter : Parameter
    """

    module_name: str
    module: Any
    tensor: str
    parameter: Any

    @property
    def name(self) -> str:
        """The parameter's name in the model."""
        return f"{self.module_name}.{self.tensor}".lstrip(".")

    @property
    def names(self) -> tuple[str, str]:
        """What globs may mean: the module's name, and the parameter's."""
        return self.module_name, self.name

    @property
    def kind(self) -> str:
        """The name of the module's class."""
        name: str = type_before_parametrizations(self.module).__name__
        return name

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's; empty where it has none yet."""
        return () if is_lazy(self.parameter) else tuple(self.parameter.shape)

    @property
    def parametrizations(self) -> tuple[Any, ...]:
        """What the parameter goes through already."""
        lists = getattr(self.module, "parametrizations", {})
        return tuple(lists[self.tensor]) if self.tensor in lists else ()


def sites_of(model: Any) -> Iterator[Site]:
    """All parameters at all their places, in the order of the model."""
    for name, module in model.named_modules():
        if isinstance(module, ParametrizationList):
            continue
        own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
        for tensor, originals in getattr(module, "parametrizations", {}).items():
            # Such as weight_norm's have two, the matrix last.
            own[tensor] = list(originals.parameters(recurse=False))[-1]
        for tensor, parameter in own.items():
            yield Site(name, module, tensor, parameter)
