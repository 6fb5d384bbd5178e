"""What the outputs of a layer are added to: the residual stream, mostly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nmflow.torch.conversion.calibrating.blocks import output_of

_ADDITIONS = (torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor)


class Addends(TorchDispatchMode):
    """While it is entered, the other operand of the first sum of each output of a module is told.

    A sum counts only where it takes the very output, on its way through nothing but views and
    dropouts that do nothing, and a tensor of the same shape.

    Parameters
    ----------
    module : Module
    sink : callable of Tensor
    """

    def __init__(self, module: Any, sink: Callable[[Any], None]) -> None:
        super().__init__()
        self._sink = sink
        self._output: Any = None
        self._hook = module.register_forward_hook(self._remember)

    def _remember(self, _: Any, __: Any, returned: Any) -> None:
        output = output_of(returned)
        self._output = output if isinstance(output, torch.Tensor) else None

    def __exit__(self, *error: Any) -> None:
        self._hook.remove()
        self._output = None
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at sums, and do what is asked."""
        if self._output is not None and func in _ADDITIONS and not kwargs:
            first, second = args
            for operand, other in ((first, second), (second, first)):
                if self._is_output(operand) and _alike(operand, other):
                    shape, self._output = self._output.shape, None
                    self._sink(other.reshape(shape))
                    break
        return func(*args, **(kwargs or {}))

    def _is_output(self, operand: Any) -> bool:
        # The output is alive, so that nothing else can lie where it does.
        return (
            isinstance(operand, torch.Tensor)
            and self._output is not None
            and operand.numel() == self._output.numel()
            and operand.shape[-1:] == self._output.shape[-1:]
            and operand.is_contiguous()
            and operand.data_ptr() == self._output.data_ptr()
        )


def _alike(operand: Any, other: Any) -> bool:
    return isinstance(other, torch.Tensor) and other.shape == operand.shape
