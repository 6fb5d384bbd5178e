"""What the callbacks of all frameworks share: masks for a model that comes later."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from nmflow.torch.handle import Handle
from nmflow.torch.masking.masked import Masked
from nmflow.torch.sparsify import sparsify


class Sparsifier:
    """A call of :func:`nmflow.torch.sparsify` that waits for its model.

    Parameters
    ----------
    n, m, options
        As for :func:`nmflow.torch.sparsify`.

    Attributes
    ----------
    handle : Handle or None
        Of the last model that got masks.
    """

    def __init__(self, n: Any, m: int | None, options: Mapping[str, Any]) -> None:
        # An option that is misspelt is told here, not when training begins.
        inspect.signature(sparsify).bind(None, n, m, **options)
        self._n, self._m, self._options = n, m, options
        self._model: Any = None
        self.handle: Handle | None = None

    @property
    def active(self) -> Handle | None:
        """The handle, while its model has masks: they may have been baked or removed."""
        return self.handle if has_masks(self._model) else None

    def put_on(self, model: Any) -> None:
        """Put masks on a model, unless they are there since an earlier call.

        Raises
        ------
        NmflowError
            As :func:`nmflow.torch.sparsify`.
        """
        # Training may have wrapped it meanwhile.
        if self.active and any(each is self._model for each in model.modules()):
            return
        self.handle = sparsify(model, self._n, self._m, **self._options)
        self._model = model


def has_masks(model: Any) -> bool:
    """Whether a model goes through masks."""
    return model is not None and any(isinstance(each, Masked) for each in model.modules())
