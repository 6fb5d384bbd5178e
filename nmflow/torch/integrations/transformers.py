"""A callback for the Trainer of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nmflow.errors import MissingExtraError, NmflowError
from nmflow.torch.handle import Handle
from nmflow.torch.integrations.sparsifier import Sparsifier

try:
    from transformers import TrainerCallback
except ModuleNotFoundError:
    raise MissingExtraError("nmflow.torch.integrations.transformers", "transformers") from None

_FILE = "nmflow.pt"


class Sparsify(TrainerCallback):
    """Let the model of a Trainer train under n:m masks that follow its weights.

    Parameters
    ----------
    n, m, **options
        As for :func:`nmflow.torch.sparsify`.
    bake_at_end : bool, default False
        Bake the masks into the weights when ``trainer.train`` has come to its end, after the best
        model was loaded; ``trainer.save_model`` then saves a plain model.

    Raises
    ------
    TypeError
        For an option that :func:`nmflow.torch.sparsify` does not have.
    NmflowError
        As :func:`nmflow.torch.sparsify`, when the Trainer is made. When training begins, if it
        resumes from a folder whose ``nmflow.pt`` is not found, or with ``model_init``.

    Notes
    -----
    Masks are put on when the Trainer is made, or when the callback is added and training begins:
    a Trainer that resumes loads the weights before it calls ``on_train_begin``, and their names
    are those of a model with masks. ``trainer.train(resume_from_checkpoint=...)`` goes on as if
    nothing had happened. ``nmflow.pt`` is looked for in the folder that
    ``TrainingArguments.resume_from_checkpoint`` names, or in the checkpoint of the same step in
    ``output_dir``.

    To export a plain model at any time::

        state = sparsify.handle.sparse_state_dict()
        trainer.model.save_pretrained(folder, state_dict=state)

    Examples
    --------
    >>> from nmflow.torch.integrations.transformers import Sparsify
    >>> sparsify = Sparsify(4, 8, refresh=40, bake_at_end=True)

    Then ``Trainer(model, args, callbacks=[sparsify], ...)`` as ever.
    """

    def __init__(
        self,
        n: int | Mapping[str, tuple[int, int]],
        m: int | None = None,
        *,
        bake_at_end: bool = False,
        **options: Any,
    ) -> None:
        self._sparsifier = Sparsifier(n, m, options)
        self._bake_at_end = bake_at_end

    @property
    def handle(self) -> Handle | None:
        """Of the model's masks; None until there are some."""
        return self._sparsifier.handle

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the masks on, so that a checkpoint finds them there."""
        if kwargs.get("model") is not None:
            self._sparsifier.put_on(kwargs["model"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put masks on a model that is new, or go on with those of a checkpoint."""
        before = self._sparsifier.active
        self._sparsifier.put_on(kwargs["model"])
        handle = self._sparsifier.active
        if not state.global_step or handle is None:
            return
        if handle is not before:
            raise NmflowError(
                "the checkpoint was loaded before the model had masks, and those it holds are"
                " lost: give the Trainer this callback when it is made, and a model in place of"
                " model_init"
            )
        handle.load_state_dict(torch.load(_saved(args, state), weights_only=True))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the handle that the optimizer has stepped."""
        handle = self._sparsifier.active
        if handle:
            handle.step()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save what refreshes go on from beside the model that was saved."""
        handle, folder = self._sparsifier.active, _checkpoint(args, state)
        # The runs of a search for hyperparameters have folders that callbacks are not told.
        if handle and args.should_save and folder.is_dir():
            part = folder / f"{_FILE}.part"
            torch.save(handle.state_dict(), part)
            part.replace(folder / _FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Bake if that was asked for."""
        handle = self._sparsifier.active
        if self._bake_at_end and handle:
            handle.bake()


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _saved(args: Any, state: Any) -> Path:
    """The handle's state in the checkpoint that training resumes from."""
    named = args.resume_from_checkpoint
    folders = [Path(named)] if isinstance(named, str) and Path(named).is_dir() else []
    folders.append(_checkpoint(args, state))
    for folder in folders:
        if (folder / _FILE).exists():
            return folder / _FILE
    raise NmflowError(
        f"no {_FILE} in {' or '.join(map(str, folders))}, without which masks can't be resumed:"
        " name the folder that training resumes from in TrainingArguments.resume_from_checkpoint;"
        " one that was saved without this callback can only be loaded as a model"
    )
