"""What masks need of every optimizer step: SR-STE's decay, and somebody who counts."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import torch
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from nmflow.errors import NmflowError
from nmflow.torch.rules import SRSTE, StraightThrough
from nmflow.torch.sharding import local, local_part

_FORGOTTEN = (
    "the optimizer has stepped twice without handle.step(): the masks of nmflow.torch.sparsify"
    " grow stale. Call handle.step() once after each optimizer.step(), or handle.freeze() if"
    " they are to stay."
)


class OptimizerWatch:
    """Looks on at all optimizers for as long as the masked weights live.

    Of the model it holds weak references alone, and lets go of PyTorch's hooks once it is dead.
    It warns even where the caller has dropped the handle.

    Parameters
    ----------
    parametrizations : list of ParametrizationList
        Each with one masked weight.
    rule : StraightThrough
    """

    def __init__(self, parametrizations: list[Any], rule: StraightThrough) -> None:
        self._parametrizations = [weakref.ref(each) for each in parametrizations]
        self._decay = rule.decay if isinstance(rule, SRSTE) else 0.0
        self._unanswered: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._warned = False
        self._hooks = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]

    def answered(self) -> None:
        """Note that the training loop has called."""
        self._unanswered.clear()

    def close(self) -> None:
        """Look on no longer."""
        for hook in self._hooks:
            hook.remove()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._decay:
            return
        mine = self._stepped(optimizer)
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if mine and closure is not None:
            raise NmflowError(
                "rule 'sr-ste' adds its term to the gradients before the step, and a closure"
                " would overwrite them: call optimizer.step() without one, or use rule 'ste'"
            )
        # A fused optimizer divides by the factor of a GradScaler in its own step.
        factor = getattr(optimizer, "grad_scale", None)
        for parametrizations in mine:
            self._add_decay(parametrizations, 1.0 if factor is None else float(factor))

    @torch.no_grad()
    def _add_decay(self, parametrizations: Any, factor: float) -> None:
        weight = parametrizations.original
        if weight.grad is None:
            return
        pruned = ~local_part(parametrizations[0].mask, weight)
        local(weight.grad).add_(local(weight) * pruned, alpha=self._decay * factor)

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._warned or not self._stepped(optimizer):
            return
        self._unanswered[optimizer] = self._unanswered.get(optimizer, 0) + 1
        if self._unanswered[optimizer] > 1:
            self._warned = True
            warnings.warn(_FORGOTTEN, stacklevel=3)

    def _stepped(self, optimizer: Optimizer) -> list[Any]:
        """Which of the masked weights are the optimizer's."""
        alive = [each for each in (ref() for ref in self._parametrizations) if each is not None]
        if not alive:
            self.close()
        theirs = {id(p) for group in optimizer.param_groups for p in group["params"]}
        return [each for each in alive if id(each.original) in theirs]
