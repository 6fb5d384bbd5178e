"""What a model is run on, batch by batch, as often as it is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import torch

from nmflow.errors import NmflowError
from nmflow.torch.conversion.calibrating.recorder import Enough
from nmflow.torch.conversion.store import digest

# Batches of what a forward pass takes, or a function that runs the model.
CalibrationData = Iterable[Any] | Callable[[Any], Any]
Call = Callable[[], Any]


class Runs(Protocol):
    """Something that can be run again and again on the same data: a model, or a block of it.

    Attributes
    ----------
    root : Module
        What is run.
    """

    root: Any

    def calls(self) -> Iterator[Call]:
        """One call for each batch; every time the same, in the same order."""
        ...

    def counts(self) -> Any:
        """Which positions of the batch that is running count, (batch, length); None for all."""
        ...


class Calibration:
    """The whole model, run on what the user gave.

    Parameters
    ----------
    model : Module
    given : CalibrationData
        Batches are tensors, tuples or lists of arguments, or mappings of keyword arguments. They
        are kept; a function is called anew for each run.

    Raises
    ------
    NmflowError
        If there are no batches, or one has NaN or is on another device than the model.
    """

    def __init__(self, model: Any, given: CalibrationData) -> None:
        self.root = model
        self._running: Any = None
        self._function: Callable[[Any], Any] | None = None
        self._batches: list[Any] = []
        if callable(given) and not isinstance(given, Iterable):
            self._function = given
            return
        if isinstance(given, torch.Tensor | Mapping | str) or not isinstance(given, Iterable):
            raise NmflowError(
                f"calibration is a {type(given).__name__}: give a list of batches, such as"
                " [batch], each of which the model's forward takes, or a function that runs the"
                " model"
            )
        self._batches = list(given)
        if not self._batches:
            raise NmflowError("calibration is empty: give some batches of the model's inputs")
        devices = {each.device for each in model.parameters()}
        for number, batch in enumerate(self._batches):
            _check(number, batch, devices)

    @property
    def by_batches(self) -> bool:
        """Whether each call is one forward pass, which may be ended early."""
        return self._function is None

    def digest(self) -> str:
        """SHA-256 of all tensors of the batches; of a function nothing can be said."""
        if self._function is not None:
            return "a function"
        total = hashlib.sha256()
        for tensor in tensors_of(self._batches):
            total.update(digest(tensor).encode())
        return total.hexdigest()

    def counts(self) -> Any:
        """The attention mask of the running batch, where it says which positions are padding."""
        if not isinstance(self._running, Mapping):
            return None
        mask = self._running.get("attention_mask")
        if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
            return None
        return mask.bool()

    def calls(self) -> Iterator[Call]:
        """A call for each batch, or the one of the user's function."""
        if self._function is not None:
            yield partial(self._run, 0, None)
        for number, batch in enumerate(self._batches):
            yield partial(self._run, number, batch)

    def _run(self, number: int, batch: Any) -> Any:
        self._running = batch
        try:
            if self._function is not None:
                return self._function(self.root)
            return call_with(self.root, batch)
        except (Enough, NmflowError):
            raise
        except Exception as error:
            what = f"calibration batch {number}" if self._function is None else "calibration"
            raise NmflowError(
                f"{what}: the model refuses it, {type(error).__name__}: {error}"
            ) from error
        finally:
            self._running = None


def call_with(model: Any, batch: Any) -> Any:
    """Run a model on a batch: a tensor, a tuple or list of arguments, or a mapping of keywords."""
    if isinstance(batch, Mapping):
        return model(**batch)
    if isinstance(batch, tuple | list):
        return model(*batch)
    return model(batch)


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    """All tensors of nested tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_of(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_of(each)


def _check(number: int, batch: Any, devices: set[Any]) -> None:
    found = False
    for tensor in tensors_of(batch):
        found = True
        if len(devices) == 1 and tensor.device not in devices:
            raise NmflowError(
                f"calibration batch {number} is on {tensor.device}, the model on"
                f" {next(iter(devices))}: move one to the other"
            )
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
            raise NmflowError(f"calibration batch {number} of shape {tuple(tensor.shape)} has NaN")
        if tensor.numel() == 0:
            shape = tuple(tensor.shape)
            raise NmflowError(f"calibration batch {number} is empty, of shape {shape}")
    if not found:
        raise NmflowError(
            f"calibration batch {number} is a {type(batch).__name__} without a tensor: give what"
            " the model's forward takes, tokenized if it is text"
        )
