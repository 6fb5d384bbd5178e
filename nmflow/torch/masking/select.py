"""What a mask keeps of a tensor: +0 elsewhere, never NaN because of what is pruned."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from nmflow.torch.masking.scratch import Scratch

# Integers of the weights' widths: a product with 0 or 1 selects bits, so that a pruned infinity
# is 0, and on the CPU takes a sixth of the time of torch.where with a bool tensor.
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
# Below this many entries PyTorch computes on one thread (at::internal::GRAIN_SIZE).
_GRAIN = 32768


def select(weight: Any, mask: Any, scratch: Scratch | None = None) -> Any:
    """The weight where the mask is True, else +0; in memory of the scratch if that is given."""
    if weight.device.type != "cpu" or _is_recorded() or weight.element_size() not in _BITS:
        return torch.where(mask, weight, 0)
    masked = torch.empty_like(weight) if scratch is None else scratch.take(weight)
    if _takes_one_pass(weight, mask) and masked.is_contiguous():
        write, _ = _kernels()[weight.element_size()]
        write(weight.data_ptr(), mask.data_ptr(), masked.data_ptr(), weight.numel())
        return masked
    bits = _BITS[weight.element_size()]
    # In two steps: a product of two dtypes would take memory for the mask in the wider one.
    masked.view(bits).copy_(mask.view(torch.int8)).mul_(weight.view(bits))
    return masked


def select_gradient(gradient: Any, mask: Any, scratch: Scratch | None) -> Any:
    """The same of a gradient that autograd hands to ``backward``; call it from nowhere else.

    In place where nobody else can see the gradient, which spares half of the memory traffic. As
    PyTorch decides whether a leaf may keep a gradient without copying it, this counts who holds it.
    """
    if _takes_one_pass(gradient, mask) and _holders(gradient) in holders_of_fresh_gradients():
        _, clear = _kernels()[gradient.element_size()]
        clear(gradient.data_ptr(), mask.data_ptr(), gradient.numel())
        return gradient
    return select(gradient, mask, scratch)


def is_transformed() -> bool:
    """Whether torch.func's transforms or forward-mode differentiation are at work."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


def _takes_one_pass(tensor: Any, mask: Any) -> bool:
    """Whether a compiled kernel may read these tensors' memory, and is faster than PyTorch's two.

    It is on one thread only. Nothing that records what PyTorch does would see it.
    """
    return (
        not _is_recorded()
        and torch._C._len_torch_dispatch_stack() == 0
        and not is_transformed()
        and (type(tensor) is torch.Tensor or type(tensor) is nn.Parameter)
        and type(mask) is torch.Tensor
        and tensor.device.type == mask.device.type == "cpu"
        and (tensor.numel() < _GRAIN or torch.get_num_threads() == 1)
        and tensor.is_contiguous()
        and mask.is_contiguous()
        and tensor.element_size() in _kernels()
    )


def _is_recorded() -> bool:
    return is_compiling() or torch._C._get_tracing_state() is not None


@cache
def _kernels() -> Any:
    # Imported when used: PyTorch alone loads in half the time.
    from nmflow.torch.masking.kernels import KERNELS

    return KERNELS


def _holders(gradient: Any) -> tuple[int, ...]:
    """How many hold a gradient, the tensor that it is a view of, and the memory of both."""
    base = gradient._base
    storage = torch._C._storage_Use_Count(gradient.untyped_storage()._cdata)
    held = sys.getrefcount(gradient), gradient._use_count(), storage
    return held if base is None else (*held, sys.getrefcount(base), base._use_count())


@cache
def holders_of_fresh_gradients() -> frozenset[tuple[int, ...]]:
    """What :func:`_holders` says in ``backward`` of gradients that only autograd holds.

    Found by trying, for it depends on how this version of PyTorch calls ``backward``.
    """
    found = set()

    class Probe(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: Any) -> Any:
            return weight.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            found.add(_counted(gradient))
            return gradient

    with torch.enable_grad():
        for uses in (nn.functional.linear, torch.matmul):
            weight = torch.ones(2, 2, requires_grad=True)
            uses(torch.ones(2, 2), Probe.apply(weight)).sum().backward()
    return frozenset(found)


def _counted(gradient: Any) -> tuple[int, ...]:
    # As deep below backward as in select_gradient.
    return _holders(gradient)
