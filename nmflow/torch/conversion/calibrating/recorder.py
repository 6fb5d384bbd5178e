"""Hooks that tell what weights are multiplied by, while the model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from nmflow.torch.conversion.calibrating.features import (
    features_of,
    first_tensor,
    output_projection_inputs,
)
from nmflow.torch.conversion.targets import Target
from nmflow.torch.selecting.sites import Site

# Called with a weight, what its matrices see, and the tensor that its module was called with.
Sink = Callable[[Target, list[Any], Any], None]


class Enough(BaseException):
    """Ends a run of the model of which nothing more is needed.

    Not an ``Exception``: models that catch those go on.
    """


class Recorder:
    """While it is entered, each call of a weight's module is told.

    Parameters
    ----------
    model : Module
    targets : iterable of Target
    sink : callable
    counts : callable
        Which positions of the current batch count, (batch, length), or None.
    """

    def __init__(
        self,
        model: Any,
        targets: Iterable[Target],
        sink: Sink,
        counts: Callable[[], Any] = lambda: None,
    ) -> None:
        # An attention reads the weight of its output projection without calling that module.
        self._attentions = {
            module.out_proj: module
            for module in model.modules()
            if isinstance(module, nn.MultiheadAttention)
        }
        self._targets = list(targets)
        self._sink = sink
        self._counts = counts
        self._hooks: list[Any] = []

    def __enter__(self) -> Recorder:
        for target in self._targets:
            for site in target.sites:
                self._hooks.append(self._hook(target, site))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def module_of(self, site: Site) -> Any:
        """The module that puts out what a weight was multiplied by."""
        return self._attentions.get(site.module, site.module)

    def _hook(self, target: Target, site: Site) -> Any:
        attention = self._attentions.get(site.module)
        if attention is not None:
            return attention.register_forward_hook(self._after(target), with_kwargs=True)
        return site.module.register_forward_pre_hook(self._before(target, site), with_kwargs=True)

    def _before(self, target: Target, site: Site) -> Any:
        def hook(_: Any, args: Any, kwargs: Any) -> None:
            layout = target.weight.layout
            seen = features_of(site, layout, args, kwargs, self._counts())
            self._sink(target, seen, first_tensor(args, kwargs))

        return hook

    def _after(self, target: Target) -> Any:
        running = False

        def hook(module: Any, args: Any, kwargs: Any, _: Any) -> None:
            nonlocal running
            if running:
                return
            running = True
            try:
                seen = output_projection_inputs(module, args, kwargs)
            finally:
                running = False
            self._sink(target, seen, seen[0])

        return hook


class Quiet:
    """While it is entered, a model runs in evaluation mode, without gradients and without caches.

    Fused fast paths, which call no submodules, are off too.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._grad = torch.no_grad()

    def __enter__(self) -> None:
        self._training = [module for module in self._model.modules() if module.training]
        self._model.eval()
        self._fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        config = getattr(self._model, "config", None)
        self._cached = config if getattr(config, "use_cache", None) else None
        if self._cached is not None:
            self._cached.use_cache = False
        self._grad.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._grad.__exit__(*error)
        if self._cached is not None:
            self._cached.use_cache = True
        torch.backends.mha.set_fastpath_enabled(self._fast)
        for module in self._training:
            module.training = True
