"""A linear layer that multiplies by its 2:4 weight, compressed, forwards and backwards."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from nmflow.errors import NmflowError
from nmflow.torch.accelerating.support import why_not_device, why_not_weight


def compress(matrix: Any) -> Any:
    """A matrix whose rows are 2:4, compressed on its device, by cuSPARSELt or CUTLASS."""
    return torch.sparse.to_sparse_semi_structured(matrix)


class _Products(torch.autograd.Function):
    """Products with a weight and its transpose, both compressed; the weight's gradient is dense."""

    @staticmethod
    def forward(context: Any, inputs: Any, weight: Any, forwards: Any, backwards: Any) -> Any:
        context.save_for_backward(inputs, weight)
        context.backwards = backwards
        return functional.linear(inputs, forwards)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> tuple[Any, ...]:
        inputs, weight = context.saved_tensors
        (gradient,) = gradients
        of_inputs = of_weight = None
        if context.needs_input_grad[0]:
            of_inputs = functional.linear(gradient, context.backwards)
        if context.needs_input_grad[1]:
            # Where the weight is 0 it stays 0.
            of_weight = (gradient.flatten(0, -2).T @ inputs.flatten(0, -2)) * (weight != 0)
        return of_inputs, of_weight, None, None


class SparseLinear(torch.nn.Linear):
    """A linear layer whose weight is 2:4 in both directions, multiplied as such.

    On a device without sparse tensor cores it is the dense layer, and ``why_dense`` says why. The
    weight stays a dense parameter, so that optimizers and checkpoints see what they know; it is
    compressed again, both ways, whenever it has changed.

    Parameters
    ----------
    linear : Linear
        Its parameters are taken over, not copied.

    Raises
    ------
    NmflowError
        If the weight can't be compressed, saying why.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        if reason := why_not_weight(linear.weight.detach()):
            raise NmflowError(f"a SparseLinear of this weight is not possible: {reason}")
        shape = linear.in_features, linear.out_features
        super().__init__(*shape, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.train(linear.training)
        self._compressed: tuple[Any, ...] = ()

    @property
    def why_dense(self) -> str | None:
        """Why products are dense where the weight lies now; None if they are sparse."""
        return why_not_device(self.weight.device)

    def forward(self, inputs: Any) -> Any:
        """``inputs @ weight.T + bias``."""
        if self.why_dense is not None:
            return super().forward(inputs)
        found = _Products.apply(inputs, self.weight, *self._both_ways())
        return found if self.bias is None else found + self.bias

    def _both_ways(self) -> tuple[Any, Any]:
        """The weight and its transpose, compressed as the weight is now."""
        state = self.weight.data_ptr(), self.weight._version
        if not self._compressed or self._compressed[0] != state:
            with torch.no_grad():
                weight = self.weight.detach()
                self._compressed = state, compress(weight), compress(weight.T.contiguous())
        return self._compressed[1], self._compressed[2]

    def __getstate__(self) -> dict[str, Any]:
        # A copy compresses for itself.
        return self.__dict__ | {"_compressed": ()}
