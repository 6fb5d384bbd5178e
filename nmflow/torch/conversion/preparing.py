"""What is done to a model before it is converted: heads turned, rows and columns put in order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from nmflow.errors import NmflowError
from nmflow.torch.conversion.calibrating.calibration import Calibration
from nmflow.torch.conversion.fitting import Recipe
from nmflow.torch.conversion.ordering import order_model, rotate_model
from nmflow.torch.conversion.targets import Target
from nmflow.torch.orders.order import Kind
from nmflow.torch.orders.report import OrderReport
from nmflow.torch.rotations.report import RotationReport
from nmflow.torch.rotations.rotate import HeadKind, Saved
from nmflow.torch.selecting.layout import Layouts


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is asked for.

    Attributes
    ----------
    permute : bool or collection of str
    rotate : bool or collection of str
    layouts : Layouts
    """

    permute: bool | Collection[Kind]
    rotate: bool | Collection[HeadKind]
    layouts: Layouts

    @classmethod
    def of(
        cls,
        permute: bool | Collection[Kind],
        rotate: bool | Collection[HeadKind],
        layouts: Layouts,
        zeros_count: bool,
    ) -> Preparation:
        """What is asked for, checked; ``zeros_count`` if the zeros of weights are to stay.

        Raises
        ------
        NmflowError
            If heads are to be turned all the same.
        """
        if rotate and zeros_count:
            raise NmflowError(
                "rotate fills the zeros that keep_zeros and n=None count on: leave one of them out"
            )
        return cls(permute, rotate, layouts)

    def settings(self) -> dict[str, Any]:
        """As plain values."""
        asked = {"permute": self.permute, "rotate": self.rotate}
        return {
            key: each if isinstance(each, bool) else sorted(each) for key, each in asked.items()
        }

    def done(
        self, model: Any, runs: Calibration, targets: Sequence[Target], recipe: Recipe
    ) -> Prepared:
        """Do it; the model is as it was if it can't be done.

        Heads are turned first: orders of their channels are among their bases, and what the order
        of the residual stream is worth depends on them.
        """
        rotations = saved = orders = None
        if self.rotate:
            kinds = None if self.rotate is True else self.rotate
            rotations, saved = rotate_model(model, runs, targets, kinds, recipe)
        if self.permute:
            some = None if self.permute is True else self.permute
            try:
                orders = order_model(model, runs, targets, self.layouts, some, recipe)
            except BaseException:
                if saved is not None:
                    saved.restore()
                raise
        return Prepared(orders, rotations, saved)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done.

    Attributes
    ----------
    orders : OrderReport or None
    rotations : RotationReport or None
    """

    orders: OrderReport | None
    rotations: RotationReport | None
    _saved: Saved | None

    def undo(self) -> None:
        """Put a model of which nothing is converted yet back as it was, to the last bit."""
        if self.orders is not None:
            self.orders.undo()
        if self._saved is not None:
            self._saved.restore()
