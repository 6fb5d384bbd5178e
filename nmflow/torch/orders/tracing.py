"""Orders of plain networks, followed through the graph of their operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from nmflow.errors import NmflowError
from nmflow.torch.orders.operations import (
    ELEMENTWISE_METHODS,
    ELEMENTWISE_MODULES,
    FLATTENING,
    MEANS,
    POOLING_MODULES,
    SHAPES,
    is_elementwise,
    is_pooling,
)
from nmflow.torch.orders.order import Order
from nmflow.torch.orders.spaces import Space, Spaces

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
_LAYERS = (nn.Linear, *_CONVOLUTIONS)
_OF_IMAGES = 3


class _Tracer(fx.Tracer):
    """Takes layers whole whose class derives from a linear layer or a convolution."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _LAYERS) or super().is_leaf_module(m, module_qualified_name)


def traced_orders(model: Any, args: Sequence[Any]) -> tuple[list[Order], dict[str, str]]:
    """Orders of channels and hidden neurons of a network that can be traced.

    Parameters
    ----------
    model : Module
        In evaluation mode.
    args : sequence
        Of its forward.

    Returns
    -------
    orders : list of Order
    refused : dict of str to str
        Why other channels stay in their order, by the name of a layer that makes them.

    Raises
    ------
    NmflowError
        If it can't be traced.
    """
    try:
        graph = _Tracer().trace(model)
        ShapeProp(fx.GraphModule(model, graph)).propagate(*args)
    except Exception as error:
        raise NmflowError(
            f"a {type(model).__name__} can't be traced by torch.fx, and is of no family of"
            f" transformers that is known, so that its orders can't be told:"
            f" {type(error).__name__}: {error}"
        ) from error
    walk = _Walk(model)
    for node in graph.nodes:
        walk.visit(node)
    return list(walk.spaces.orders(walk.kind)), walk.spaces.refused()


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor whose axis follows a space."""

    space: Space
    axis: int


class _Walk:
    """Follows channels from node to node."""

    def __init__(self, model: Any) -> None:
        self.spaces = Spaces()
        self._model = model
        self._modules = dict(model.named_modules())
        self._values: dict[fx.Node, _Value | None] = {}
        convolves = any(isinstance(each, _CONVOLUTIONS) for each in self._modules.values())
        self.kind = "channels" if convolves else "hidden"

    def visit(self, node: fx.Node) -> None:
        """Say which axis of a node's result follows which space, if any does."""
        if node.op == "call_module":
            self._values[node] = self._module(node, str(node.target))
        elif node.op in ("call_function", "call_method"):
            self._values[node] = self._operation(node)
        elif node.op == "get_attr":
            value = self._model
            for part in str(node.target).split("."):
                value = getattr(value, part)
            for axis in range(getattr(value, "ndim", 0)):
                self.spaces.fix_axis(value, axis, f"{node.target} is used as it is")
        elif node.op == "output":
            self._fix(node, "the model puts them out")

    def _module(self, node: fx.Node, name: str) -> _Value | None:
        module = self._modules[name]
        seen = self._values.get(node.all_input_nodes[0]) if node.all_input_nodes else None
        if isinstance(module, nn.Linear):
            return self._linear(node, name, module, seen)
        if isinstance(module, _CONVOLUTIONS):
            return self._convolution(node, name, module, seen)
        if isinstance(module, nn.Flatten):
            return self._flattened(node, seen)
        return self._let_through(node, name, module, seen)

    def _let_through(
        self, node: fx.Node, name: str, module: Any, seen: _Value | None
    ) -> _Value | None:
        """Of a layer that mixes no channels, if it is one."""
        channels = seen is not None and seen.axis == 1
        last = seen is not None and seen.axis == len(shape_of(node)) - 1
        if seen is None:
            self._fix_own(module, f"what {name} reads has its order")
            return None
        if isinstance(module, ELEMENTWISE_MODULES) or (
            isinstance(module, POOLING_MODULES) and channels
        ):
            return seen
        if (
            (isinstance(module, _BATCH_NORMS) and channels)
            or (isinstance(module, nn.LayerNorm) and last and len(module.normalized_shape) == 1)
            or (isinstance(module, nn.PReLU) and (channels or module.num_parameters == 1))
        ):
            own = {**module._parameters, **module._buffers}
            for tensor, value in own.items():
                if value is not None and value.shape == (seen.space.size,):
                    self.spaces.use(seen.space, module, tensor, 0)
            return seen
        self._fix_own(module, f"{name} is used as it is")
        return self._fix(node, f"{name}, a {type(module).__name__}, may not let them through")

    def _linear(self, node: fx.Node, name: str, module: Any, seen: _Value | None) -> _Value:
        axis = len(shape_of(node)) - 1
        if seen is not None and seen.axis == axis:
            self.spaces.use(seen.space, module, "weight", 1)
        else:
            self._fix(node, f"{name} does not read them as its features")
            self.spaces.fix_axis(module.weight, 1, f"what {name} reads has its order")
        space = self.spaces.make(name, module.out_features)
        self.spaces.use(space, module, "weight", 0)
        self.spaces.use(space, module, "bias", 0)
        return _Value(space, axis)

    def _convolution(
        self, node: fx.Node, name: str, module: Any, seen: _Value | None
    ) -> _Value | None:
        if module.groups == module.in_channels == module.out_channels and module.groups > 1:
            if seen is not None:
                self.spaces.use(seen.space, module, "weight", 0)
                self.spaces.use(seen.space, module, "bias", 0)
            else:
                self.spaces.fix_axis(module.weight, 0, f"what {name} reads has its order")
            return seen
        if module.groups > 1:
            self._fix_own(module, f"{name} convolves in groups")
            return self._fix(node, f"{name} convolves in groups")
        if seen is not None:
            self.spaces.use(seen.space, module, "weight", 1)
        else:
            self.spaces.fix_axis(module.weight, 1, f"what {name} reads has its order")
        space = self.spaces.make(name, module.out_channels)
        self.spaces.use(space, module, "weight", 0)
        self.spaces.use(space, module, "bias", 0)
        return _Value(space, len(shape_of(node)) - module.weight.ndim + 1)

    def _operation(self, node: fx.Node) -> _Value | None:
        target = node.target
        method = node.op == "call_method"
        seen = [self._values.get(each) for each in node.all_input_nodes]
        first = seen[0] if seen else None
        if target in SHAPES and not shape_of(node):
            return None
        if target in FLATTENING:
            return self._flattened(node, first)
        if target in MEANS:
            return self._averaged(node, first)
        if (target in ELEMENTWISE_METHODS) if method else is_elementwise(target):
            return self._joined(node, seen)
        if not method and is_pooling(target) and (first is None or first.axis == 1):
            return first
        what = target if method else getattr(target, "__name__", target)
        return self._fix(node, f"{what} may not let them through")

    def _joined(self, node: fx.Node, seen: Sequence[_Value | None]) -> _Value | None:
        """One order for all tensors of an elementwise operation."""
        shape = shape_of(node)
        tensors = [each for each in node.all_input_nodes if shape_of(each)]
        values = [self._values.get(each) for each in tensors]
        found = [value for value in values if value is not None]
        if not found:
            return None
        alike = (
            len(found) == len(tensors)
            and len({value.axis for value in found}) == 1
            and all(len(shape_of(each)) == len(shape) for each in tensors)
        )
        what = f"{node.name} puts them together with others that have their order"
        if not alike:
            return self._fix(node, what)
        for value in found[1:]:
            found[0].space.join(value.space, what)
        return found[0]

    def _flattened(self, node: fx.Node, seen: _Value | None) -> _Value | None:
        if seen is None:
            return None
        before, after = shape_of(node.all_input_nodes[0]), shape_of(node)
        channels = seen.space.size
        if seen.axis == 1 and after[:2] == before[:2] == (before[0], channels) and len(after) == 2:
            return _Value(seen.space, 1)
        return self._fix(node, "they are flattened together with other axes")

    def _averaged(self, node: fx.Node, seen: _Value | None) -> _Value | None:
        if seen is None:
            return None
        before, after = shape_of(node.all_input_nodes[0]), shape_of(node)
        kept = len(before) >= _OF_IMAGES and seen.axis == 1 and after[:2] == before[:2]
        if kept and (len(after) == 2 or len(after) == len(before)):
            return seen
        return self._fix(node, "a mean is taken of them")

    def _fix(self, node: fx.Node, reason: str) -> _Value | None:
        """Let all that a node reads stay in its order, and what it gives."""
        for each in node.all_input_nodes:
            value = self._values.get(each)
            if value is not None:
                value.space.fix(reason)
        return None

    def _fix_own(self, module: Any, reason: str) -> None:
        """Let all that a layer holds stay in its order, also for others that share it."""
        for value in (*module.parameters(), *module.buffers()):
            for axis in range(value.ndim):
                self.spaces.fix_axis(value, axis, reason)


def shape_of(node: Any) -> tuple[int, ...]:
    """The shape of a node's result; () if it is no tensor."""
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if hasattr(meta, "shape") else ()
