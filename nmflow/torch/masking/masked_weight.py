"""The masked weight: computed in one operation, and guarded against writes that would be lost."""

from __future__ import annotations

from typing import Any

import torch
from torch.compiler import is_compiling

from nmflow.errors import NmflowError
from nmflow.torch.masking.scratch import Scratch
from nmflow.torch.masking.select import is_transformed, select, select_gradient


class _Mask(torch.autograd.Function):
    """weight -> mask * weight; the gradient as it is, or that of what is kept alone."""

    @staticmethod
    def forward(ctx: Any, weight: Any, mask: Any, straight_through: bool, scratch: Any) -> Any:
        ctx.straight_through, ctx.scratch = straight_through, scratch
        if not straight_through:
            ctx.save_for_backward(mask)
        return select(weight, mask, scratch)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        if not ctx.straight_through:
            (mask,) = ctx.saved_tensors
            if torch.is_grad_enabled():
                gradient = apply_mask(gradient, mask, False)
            else:
                gradient = select_gradient(gradient, mask, ctx.scratch)
        return gradient, None, None, None


class _MaskOfTransforms(torch.autograd.Function):
    """The same under torch.func's transforms and forward-mode differentiation; costs more."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Any, mask: Any, straight_through: bool) -> Any:
        return select(weight, mask)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, mask, ctx.straight_through = inputs
        ctx.save_for_backward(mask)
        ctx.save_for_forward(mask)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        if not ctx.straight_through:
            (mask,) = ctx.saved_tensors
            gradient = _MaskOfTransforms.apply(gradient, mask, False)
        return gradient, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Any, *_: Any) -> Any:
        (mask,) = ctx.saved_tensors
        # As backward: of a straight-through estimate the tangent is taken as it is.
        return tangent.clone() if ctx.straight_through else select(tangent, mask)


def apply_mask(
    weight: Any, mask: Any, straight_through: bool, scratch: Scratch | None = None
) -> Any:
    """The masked weight, with the straight-through gradient or that of the product."""
    if not is_compiling() and is_transformed():
        return _MaskOfTransforms.apply(weight, mask, straight_through)
    return _Mask.apply(weight, mask, straight_through, scratch)


class MaskedWeight(torch.Tensor):
    """What a sparsified layer shows as its weight; computed anew each time it is asked for.

    A write into it would go to memory that nobody reads again. Writes that no other tensor takes
    part in, such as an initialisation, and ``copy_`` go to the dense weight instead; all others,
    such as the merge of an adapter, raise :class:`nmflow.NmflowError`. In computations it is a
    plain tensor: what is written into views of it, or by functions with ``out=it``, is lost.

    Attributes
    ----------
    dense : Tensor
        The weight that it was computed from.
    source : Module
        The parametrization that computed it.
    """

    # As nn.Parameter does: operations give plain tensors, and cost no more than with those.
    __torch_function__ = torch._C._disabled_torch_function_impl
    dense: Any
    source: Any

    @classmethod
    def of(cls, value: Any, dense: Any, source: Any) -> Any:
        """The value, guarded."""
        guarded = value.as_subclass(cls)
        guarded.dense, guarded.source = dense, source
        return guarded

    @property
    def data(self) -> Any:
        """The values without their history, guarded too."""
        return MaskedWeight.of(self.detach(), self.dense.data, self.source)

    @data.setter
    def data(self, value: Any) -> None:
        # `weight.data += x` first adds, which raises unless it is no merge, and then assigns.
        if getattr(value, "source", None) is not self.source:
            _refuse("data = ...")

    def __deepcopy__(self, memo: Any) -> Any:
        return self.detach().clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().clone().__reduce_ex__(protocol)


def _refuse(what: str) -> Any:
    raise NmflowError(
        f"{what}: this weight is computed from the dense one under its mask, so the write would be"
        " lost. Merge adapters into the model before it is sparsified or after bake(); for new"
        " dense weights assign a tensor, module.weight = ..., or write to"
        " module.parametrizations.weight.original"
    )


def _guarded(name: str) -> Any:
    """A method that writes in place, sent to the dense weight or refused."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor)]
        if name == "copy_":
            self.source.check_assignable(*tensors)
        elif tensors:
            _refuse(f"weight.{name}(...)")
        getattr(self.dense, name)(*args, **kwargs)
        with torch.no_grad():
            # An initialisation in several steps reads what it wrote.
            torch.Tensor.copy_(self, self.dense)
        return self

    method.__name__ = name
    return method


_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
_HARMLESS = {"requires_grad_", "detach_"}
_IN_PLACE = {each for each in dir(torch.Tensor) if each.endswith("_") and each[0] != "_"}
for _name in _IN_PLACE - _HARMLESS | {"__setitem__", *(f"__i{each}__" for each in _OPERATORS)}:
    setattr(MaskedWeight, _name, _guarded(_name))
