"""A callback for the Trainer of Lightning."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from nmflow.errors import MissingExtraError
from nmflow.torch.handle import Handle
from nmflow.torch.integrations.sparsifier import Sparsifier
from nmflow.torch.masking.masked import Masked


def _callback() -> Any:
    """The base class of callbacks: of the package in use, where both are installed."""
    for name in sorted(
        ("lightning.pytorch", "pytorch_lightning"), key=lambda name: name not in sys.modules
    ):
        try:
            return import_module(name).Callback
        except ModuleNotFoundError:
            continue
    raise MissingExtraError("nmflow.torch.integrations.lightning", "lightning")


Callback: Any = _callback()


class Sparsify(Callback):
    """Let a LightningModule train under n:m masks that follow its weights.

    Parameters
    ----------
    n, m, **options
        As for :func:`nmflow.torch.sparsify`.
    bake_at_end : bool, default False
        Bake the masks into the weights when ``trainer.fit`` has come to its end.
    log : bool, default False
        Log ``nmflow/flip_rate`` at each refresh, and ``nmflow/n`` and ``nmflow/m`` where all masks
        keep as many.

    Raises
    ------
    TypeError
        For an option that :func:`nmflow.torch.sparsify` does not have.
    NmflowError
        As :func:`nmflow.torch.sparsify`, when ``trainer.fit`` has set the model up.

    Notes
    -----
    Masks are put on after ``LightningModule.setup`` and ``configure_model``, before a strategy
    wraps the model and before optimizers are configured. Another ``trainer.fit`` goes on with
    them. Before the first one, ``trainer.validate`` and its like see the model as it is, unless
    the checkpoint they are to load has masks.

    ``configure_optimizers`` must take parameters from ``parameters()`` or ``named_parameters()``:
    ``layer.weight`` is computed by then, and its parameter called ``original``.

    Steps are those of the optimizers that hold masked weights. Several that take turns within a
    batch make one step together; one that steps several times in a batch makes several.

    Checkpoints hold dense weights beside their masks, and all that the callback needs to resume.
    For one that loads into the model without this callback, bake, then call
    ``trainer.save_checkpoint``. Strategies that spawn processes load the weights into a model of
    the main process, which has no masks: use ``bake_at_end`` with them.

    Examples
    --------
    >>> from nmflow.torch.integrations.lightning import Sparsify
    >>> sparsify = Sparsify(4, 8, refresh=40, exclude="*head*", bake_at_end=True)

    Then ``Trainer(callbacks=[sparsify]).fit(model)`` as ever; ``print(sparsify.handle.report)``.
    """

    def __init__(
        self,
        n: int | Mapping[str, tuple[int, int]],
        m: int | None = None,
        *,
        bake_at_end: bool = False,
        log: bool = False,
        **options: Any,
    ) -> None:
        self._sparsifier = Sparsifier(n, m, options)
        self._bake_at_end = bake_at_end
        self._log = log
        self._hooks: list[Any] = []
        # Optimizers that have stepped since the handle was told last.
        self._stepped: set[Any] = set()

    @property
    def handle(self) -> Handle | None:
        """Of the model's masks; None until there are some."""
        return self._sparsifier.handle

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Have masks put on once the model is complete."""
        if stage == "fit":
            _after(pl_module, "configure_model", lambda: self._sparsifier.put_on(pl_module))
        else:
            _after(pl_module, "on_load_checkpoint", self._put_on_for(pl_module))

    def _put_on_for(self, pl_module: Any) -> Callable[[Any], None]:
        def put_on(checkpoint: Any) -> None:
            if any(_is_mask(name) for name in checkpoint["state_dict"]):
                self._sparsifier.put_on(pl_module)

        return put_on

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Look on at the optimizers, from within their steps: a closure may be called often."""
        masked = {
            id(parametrizations.original)
            for module in pl_module.modules()
            for parametrizations in getattr(module, "parametrizations", {}).values()
            if isinstance(parametrizations[0], Masked)
        }
        self._stepped.clear()

        def before(optimizer: Any, args: Any, kwargs: Any) -> None:
            if optimizer in self._stepped:
                self._step(pl_module)

        def after(optimizer: Any, args: Any, kwargs: Any) -> None:
            # Parameters may have been added to it since training began.
            if any(id(p) in masked for group in optimizer.param_groups for p in group["params"]):
                self._stepped.add(optimizer)

        for optimizer in trainer.optimizers:
            self._hooks.append(optimizer.register_step_pre_hook(before))
            self._hooks.append(optimizer.register_step_post_hook(after))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the optimizers as they were."""
        while self._hooks:
            self._hooks.pop().remove()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *batch: Any) -> None:
        """Tell the handle where an optimizer has stepped."""
        if self._stepped:
            self._step(pl_module)

    def _step(self, pl_module: Any) -> None:
        self._stepped.clear()
        handle = self._sparsifier.active
        statistics = handle.step() if handle else None
        if self._log and statistics:
            values = {"flip_rate": statistics.flip_rate, "n": statistics.n, "m": statistics.m}
            pl_module.log_dict(
                {f"nmflow/{name}": float(v) for name, v in values.items() if v is not None}
            )

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Bake if that was asked for."""
        handle = self._sparsifier.active
        if self._bake_at_end and handle:
            handle.bake()

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints; empty without masks."""
        handle = self._sparsifier.active
        return {"handle": handle.state_dict()} if handle else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoints, after the model has loaded its own."""
        handle = self._sparsifier.active
        if handle and "handle" in state_dict:
            handle.load_state_dict(state_dict["handle"])


def _after(pl_module: Any, hook: str, then: Callable[..., None]) -> None:
    """Do something after the next call of one of a LightningModule's hooks.

    Callbacks have no hook of their own between ``configure_model`` and the strategy's set-up, nor
    before the model loads its part of a checkpoint.
    """
    call = getattr(pl_module, hook)

    def both(*args: Any) -> None:
        vars(pl_module).pop(hook, None)
        call(*args)
        then(*args)

    setattr(pl_module, hook, both)


def _is_mask(name: str) -> bool:
    return "parametrizations." in name and name.endswith(".0.mask")
