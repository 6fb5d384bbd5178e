"""Arrays of other frameworks on a device, as tensors through DLPack, and the way back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from nmflow.problem.arrays import as_is, on_accelerator

# What exporters and importers raise where a dtype or device is none of theirs; an assertion is what
# PyTorch without CUDA has to say.
_REFUSALS = (AssertionError, BufferError, RuntimeError, TypeError, ValueError, NotImplementedError)


def borrowed(array: Any) -> tuple[Any, Callable[[Any], Any]]:
    """A tensor that shares an array's memory, and what makes of a tensor one of its framework.

    Streams wait for each other as DLPack has it, and the host does not. Where the framework has no
    ``from_dlpack``, tensors stay tensors. Arrays that need it not, or that PyTorch can't read, are
    left as they are.
    """
    if on_accelerator(array) != "dlpack":
        return array, as_is
    try:
        import torch

        return torch.from_dlpack(array), _importer_of(array)
    except (ModuleNotFoundError, *_REFUSALS):
        return array, as_is


def _importer_of(array: Any) -> Callable[[Any], Any]:
    if hasattr(array, "__array_namespace__"):
        framework = array.__array_namespace__()
    else:
        framework = sys.modules.get(type(array).__module__.partition(".")[0])
    importer: Callable[[Any], Any] = getattr(framework, "from_dlpack", lambda tensor: tensor)
    return importer
