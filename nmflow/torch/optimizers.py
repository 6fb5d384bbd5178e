"""What masks need of every optimizer step: SR-STE's term, and somebody who counts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from nmflow.torch.masking.select import select
from nmflow.torch.masking.sharding import local, local_part

_FORGOTTEN = (
    "the optimizer has stepped twice without handle.step(): the masks of nmflow.torch.sparsify"
    " grow stale. Call handle.step() once after each optimizer.step(), or handle.freeze() if"
    " they are to stay."
)
# Calls of handle.step() without a step of an optimizer after which SR-STE says so.
_PATIENCE = 20
_UNREACHED = (
    "handle.step() was called 20 times, but no torch.optim.Optimizer that holds the masked weights"
    " has stepped: SR-STE's decay of pruned weights is not applied. Use an optimizer that derives"
    " from torch.optim.Optimizer and was given the model's own parameters, or rule='ste'."
)


class OptimizerWatch:
    """Looks on at the optimizers of some masked weights, even where the handle was dropped.

    Parameters
    ----------
    decay : float
        Of :class:`SRSTE`; 0 for none.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._unanswered: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._warned: set[str] = set()
        self._silent = 0
        self._reached = False

    def begin(self, parametrizations: Iterable[Any]) -> None:
        """Look on for as long as these live; each holds one masked weight."""
        if not _HOOKS:
            # A compiled step runs them as they are.
            before, after = torch.compiler.disable(_before), torch.compiler.disable(_after)
            _HOOKS.append(register_optimizer_step_pre_hook(before))
            _HOOKS.append(register_optimizer_step_post_hook(after))
        _WATCHED.update(dict.fromkeys(parametrizations, self))
        _KNOWN.clear()

    def end(self) -> None:
        """Look on no longer."""
        for each in [each for each, watch in _WATCHED.items() if watch is self]:
            del _WATCHED[each]
        _KNOWN.clear()

    def answered(self) -> None:
        """Note that the training loop has called the handle."""
        # A GradScaler that looks for its factor skips a few steps at first.
        self._silent = 0 if self._unanswered else self._silent + 1
        if self.decay and self._silent == _PATIENCE and not self._reached:
            self._warn(_UNREACHED, 4)
        self._unanswered.clear()

    def stepped(self, optimizer: Any) -> None:
        """Note a step of an optimizer."""
        self._reached = True
        self._unanswered[optimizer] = self._unanswered.get(optimizer, 0) + 1
        if self._unanswered[optimizer] > 1:
            self._warn(_FORGOTTEN, 6)

    def _warn(self, text: str, stacklevel: int) -> None:
        """Once each, at the line of the training loop."""
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, stacklevel=stacklevel)

    def __deepcopy__(self, memo: dict[int, Any]) -> OptimizerWatch:
        # A copy looks on at no optimizer until it is told to begin.
        return OptimizerWatch(self.decay)


# One pair of hooks for the process and weak keys: a dead model leaves nothing behind.
_HOOKS: list[Any] = []
_WATCHED: WeakKeyDictionary[Any, OptimizerWatch] = WeakKeyDictionary()
# Whose gradients the optimizers that are stepping have seen to.
_STEPPING: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
# What each optimizer holds of the watched weights, and how many parameters it had by then: other
# optimizers of the process pay for one look-up a step.
_KNOWN: WeakKeyDictionary[Any, tuple[tuple[int, ...], list[Any]]] = WeakKeyDictionary()


def _watched(optimizer: Any) -> list[tuple[Any, OptimizerWatch]]:
    """The optimizer's masked weights and who watches them."""
    if not _WATCHED:
        return []
    sizes = tuple(len(group["params"]) for group in optimizer.param_groups)
    known = _KNOWN.get(optimizer)
    if known is None or known[0] != sizes:
        theirs = {id(p) for group in optimizer.param_groups for p in group["params"]}
        known = (sizes, [ref(each) for each in _WATCHED if id(each.original) in theirs])
        _KNOWN[optimizer] = known
    living = (each for weak in known[1] if (each := weak()) is not None)
    return [(each, _WATCHED[each]) for each in living if each in _WATCHED]


def _before(optimizer: Any, args: Any, kwargs: Any) -> Any:
    """Add SR-STE's term to the gradients; after the closure, where a closure computes them."""
    _STEPPING.pop(optimizer, None)
    # An optimizer may wrap another of the same parameters.
    done = [each for parametrizations in _STEPPING.values() for each in parametrizations]
    decays = [
        (each, watch.decay)
        for each, watch in _watched(optimizer)
        if watch.decay and each not in done
    ]
    if not decays:
        return None
    _STEPPING[optimizer] = [each for each, _ in decays]
    # A fused optimizer divides by the factor of a GradScaler in its own step.
    factor = getattr(optimizer, "grad_scale", None)
    scale = 1.0 if factor is None else float(factor)

    def add_all() -> None:
        for parametrizations, decay in decays:
            _add_decay(parametrizations, decay * scale)

    closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
    if not callable(closure):
        return add_all()
    both = _then(closure, add_all)
    if "closure" in kwargs:
        return args, {**kwargs, "closure": both}
    return (args[0], both, *args[2:]), kwargs


def _then(closure: Callable[[], Any], finish: Callable[[], None]) -> Callable[[], Any]:
    def both() -> Any:
        loss = closure()
        finish()
        return loss

    return both


@torch.no_grad()
def _add_decay(parametrizations: Any, decay: float) -> None:
    weight = parametrizations.original
    if weight.grad is None:
        return
    pruned = ~local_part(parametrizations[0].mask, weight)
    local(weight.grad).add_(select(local(weight), pruned), alpha=decay)


def _after(optimizer: Any, args: Any, kwargs: Any) -> None:
    _STEPPING.pop(optimizer, None)
    for watch in {watch for _, watch in _watched(optimizer)}:
        watch.stepped(optimizer)
