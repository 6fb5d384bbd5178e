"""The parametrization: dense weight -> masked weight, with the mask as a buffer."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.compiler import is_compiling
from torch.nn import functional

from nmflow.errors import NmflowError
from nmflow.models import Layout
from nmflow.torch.masking.counting import fault, most_kept
from nmflow.torch.masking.masked_weight import MaskedWeight, apply_mask
from nmflow.torch.masking.scratch import Scratch
from nmflow.torch.masking.select import select
from nmflow.torch.solving.problem import Problem


class Masked(nn.Module):
    """A parametrization that keeps of a weight what a mask keeps.

    Parameters
    ----------
    name : str
        Of the weight, in the model as it was sparsified.
    mask : bool Tensor
        Of the weight's shape; all True until it is solved.
    problem : Problem
    layout : Layout
    mean_absorption : bool
        Kept entries take up the mean of what their tile lost; see :func:`sparsify`.

    Attributes
    ----------
    mask : bool Tensor
        A registered buffer, changed in place at a refresh; it stays bool when the model is cast.
    kept : int
        How many of every m the mask keeps: m until it is solved, and again once its values are
        lost, as by ``to_empty``.
    straight_through : bool
        Whether pruned entries get the gradient too. False once masks are frozen.
    given : bool
        Whether the mask is the user's own.
    """

    def __init__(
        self, name: str, mask: Any, problem: Problem, layout: Layout, mean_absorption: bool
    ) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.name = name
        self.problem = problem
        self.layout = layout
        self.mean_absorption = mean_absorption
        self.straight_through = True
        self._scratch = Scratch()
        self.given = False
        self.kept = problem.pattern.m

    @property
    def solved(self) -> bool:
        """Whether the mask comes from a solve, for the final n or one on the way there."""
        pattern = self.problem.pattern
        return not self.mask.is_meta and (self.kept < pattern.m or pattern.n == pattern.m)

    def fault(self) -> str | None:
        """Why the mask must not be written into weights; None if every group holds n at most."""
        pattern = self.problem.pattern
        if not self.solved:
            return "its mask was never solved: call refresh() once its values are there"
        if self.kept > pattern.n:
            return f"its mask keeps {self.kept} of {pattern.m} until the ramp ends"
        full = self.problem.method.exact and not (self.given or self.problem.keep_zeros)
        return fault(self.mask, self.layout, pattern, full, self.problem.unit)

    def forward(self, weight: Any) -> Any:
        """The weight that the layer computes with."""
        learns = weight.requires_grad and torch.is_grad_enabled()
        # Compiled graphs can't ask for the inference mode, and are compiled anew in it.
        learns = learns and (is_compiling() or not torch.is_inference_mode_enabled())
        scratch = self._scratch if learns else None
        masked = apply_mask(weight, self.mask, self.straight_through, scratch)
        if self.mean_absorption:
            masked = masked + self._absorbed(select(weight.detach(), ~self.mask))
        return masked if is_compiling() else MaskedWeight.of(masked, weight, self)

    def right_inverse(self, value: Any) -> Any:
        """The dense weight that an assignment to the layer's weight means: the value itself.

        Raises
        ------
        NmflowError
            If the masks are frozen and would take something away from the value.
        """
        if isinstance(value, MaskedWeight) and value.source is self:
            # Tying a weight to itself, as transformers does after loading.
            return value.dense
        self.check_assignable(value)
        return value

    def check_assignable(self, value: Any) -> None:
        """Raise where frozen masks would take something away from a new dense weight."""
        if not self.straight_through and bool(select(value.detach(), ~self.mask).any()):
            raise NmflowError(
                f"{self.name}: masks are frozen, and the value assigned is not 0 where they prune:"
                " mask it first, or unfreeze() the masks, or remove() them"
            )

    def recount(self) -> None:
        """Take ``kept`` from the mask, after somebody else has written it."""
        pattern = self.problem.pattern
        most = most_kept(self.mask, self.layout, pattern, self.problem.unit)
        self.kept = min(max(most, pattern.n), pattern.m)

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Any:
        before = self.mask
        super()._apply(fn, recurse)
        if self.mask is not before and not (_has_values(before, self.mask) and _keeps_values(fn)):
            self.kept = self.problem.pattern.m
            if not self.mask.is_meta:
                self.mask.fill_(True)
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if prefix + "mask" in state_dict and not self.mask.is_meta:
            self.recount()

    def _absorbed(self, pruned: Any) -> Any:
        """What each kept entry takes up, 0 at pruned ones."""
        axes = self.layout.matrix_axes(pruned.ndim)
        matrices = self.layout.matrices(pruned).movedim(axes, (-2, -1))
        rows, columns = matrices.shape[-2:]
        m, (height, width) = self.problem.pattern.m, self.problem.unit
        tile = {
            "transposable": (m * height, m * width),
            "rows": (height, m * width),
            "columns": (m * height, width),
            "unstructured": (rows, columns),
        }[self.problem.pattern.name]
        # Pooling in ceil mode divides a partial tile by the entries that it has.
        means = functional.avg_pool2d(
            matrices.reshape(-1, 1, rows, columns), tile, stride=tile, ceil_mode=True
        )
        spread = means.repeat_interleave(tile[0], -2)[..., :rows, :]
        spread = spread.repeat_interleave(tile[1], -1)[..., :columns]
        whole = spread.reshape(matrices.shape).movedim((-2, -1), axes)
        return self.layout.tensor(whole) * self.mask

    def extra_repr(self) -> str:
        """Shown in the model's printout."""
        pattern = self.problem.pattern
        return str(pattern) if self.kept == pattern.n else f"{pattern}, {self.kept} kept so far"


def _has_values(*masks: Any) -> bool:
    return not any(mask.is_meta for mask in masks)


def _keeps_values(fn: Callable[[Any], Any]) -> bool:
    """Whether a function that moves tensors takes their values along, as ``to_empty``'s does not.

    Memory that was just freed may hold a mask, so it is tried on bytes that were never there.
    """
    probe = torch.frombuffer(bytearray(secrets.token_bytes(64)), dtype=torch.uint8)
    return bool(torch.equal(probe, fn(probe).to(probe.device)))
