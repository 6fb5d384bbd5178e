"""What may be put in another order together: hidden neurons, heads' channels, a stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from nmflow.errors import NmflowError

# Of hidden neurons of an MLP; of channels of a convolutional network; within heads, of values with
# the output projection and of queries with keys; of the residual stream.
Kind = Literal["hidden", "channels", "values", "queries", "stream"]


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """An axis of a parameter or buffer that follows an order.

    Attributes
    ----------
    module : Module
    tensor : str
        The parameter's or buffer's name in the module.
    axis : int
    places : ndarray of int64, shape (copies, size), optional
        Where on the axis each position of the order lies, more than once where query heads share
        a value head; the whole axis, as it is, if None.
    """

    module: Any
    tensor: str
    axis: int
    places: NDArray[np.int64] | None = None

    @property
    def value(self) -> Any:
        """The parameter or buffer; None if there is none.

        Raises
        ------
        NmflowError
            If it goes through a parametrization.
        """
        if self.tensor in getattr(self.module, "parametrizations", {}):
            raise NmflowError(
                f"{self.tensor} of a {type(self.module).__name__} goes through a parametrization:"
                " permute the dense model, before it is sparsified"
            )
        own = self.module._parameters.get(self.tensor)
        return self.module._buffers.get(self.tensor) if own is None else own

    @property
    def key(self) -> tuple[int, int, bytes]:
        """Alike for uses that are one, as of a parameter that two modules share."""
        places = b"" if self.places is None else self.places.tobytes()
        return id(self.value), self.axis % self.value.ndim, places

    def move(self, order: NDArray[np.int64]) -> None:
        """Put what lies at ``order[i]`` at position i."""
        value = self.value
        index = np.arange(value.shape[self.axis])
        for places in [index] if self.places is None else self.places:
            index[places] = places[order]
        at = torch.as_tensor(index, device=value.device)
        value.copy_(value.index_select(self.axis % value.ndim, at))


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """Axes that follow one order.

    Attributes
    ----------
    name : str
        Of where in the model it is.
    kind : Kind
    size : int
    uses : tuple of Use
        None twice.
    classes : ndarray of int64, shape (size,), optional
        Positions change places with others of their class alone: those of a head.
    """

    name: str
    kind: Kind
    size: int
    uses: tuple[Use, ...]
    classes: NDArray[np.int64] | None = None

    @torch.no_grad()
    def move(self, order: NDArray[np.int64]) -> None:
        """Put what lies at ``order[i]`` at position i, everywhere."""
        for use in self.uses:
            use.move(order)


def make_order(
    name: str,
    kind: Kind,
    size: int,
    uses: Iterable[Use],
    classes: NDArray[np.int64] | None = None,
) -> Order:
    """An order of uses that hold values, each once.

    Raises
    ------
    NmflowError
        If a value goes through a parametrization, lies on the meta device or has another size.
    """
    found: dict[tuple[int, int, bytes], Use] = {}
    for use in uses:
        value = use.value
        if value is None:
            continue
        if value.is_meta:
            raise NmflowError(f"{name}: {use.tensor} is on the meta device: load its values first")
        extent = value.shape[use.axis]
        if (extent != size) if use.places is None else (use.places.max() >= extent):
            raise NmflowError(
                f"{name}: {use.tensor} of shape {tuple(value.shape)} has {extent} entries along"
                f" axis {use.axis}, which do not fit an order of {size}"
            )
        found.setdefault(use.key, use)
    return Order(name, kind, size, tuple(found.values()), classes)
