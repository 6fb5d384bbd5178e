"""Orders of transformers whose blocks are known by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import nn

from nmflow.errors import NmflowError
from nmflow.torch.orders.families import BLOCKS, Attention, Block
from nmflow.torch.orders.order import Kind, Order, Use, make_order

Found = tuple[list[Order], dict[str, str]]


def known_blocks(model: Any) -> list[tuple[str, Any, Block]]:
    """The blocks of a model that are known: name, module and what it is."""
    found = []
    for name, module in model.named_modules():
        kind = type(module)
        forms = BLOCKS.get(kind.__name__, ())
        if not kind.__module__.startswith("transformers."):
            continue
        for form in forms:
            if _child(module, form.down) is not None:
                found.append((name, module, form))
                break
    return found


def orders_in_blocks(model: Any, blocks: Sequence[tuple[str, Any, Block]]) -> Found:
    """Orders that end within a block: hidden neurons, and channels within heads.

    Returns
    -------
    orders : list of Order
    refused : dict of str to str
        Why there are no others, by their names.
    """
    orders: list[Order] = []
    refused: dict[str, str] = {}
    config = model.config.get_text_config()
    for name, module, block in blocks:
        for label, make in _makers(name, module, block, config):
            try:
                orders.append(make())
            except NmflowError as error:
                refused[label] = str(error)
    return orders, refused


def _makers(name: str, module: Any, block: Block, config: Any) -> Iterator[tuple[str, Any]]:
    yield f"{name}.{block.down}", lambda: _hidden(name, module, block)
    for attention in block.attentions:
        yield f"{name}.{attention.out}", lambda a=attention: _values(name, module, a, config)
        if not attention.rotary:
            label = f"{name}.{attention.query} (queries)"
            yield label, lambda a=attention: _queries(name, module, a, config)


def _hidden(name: str, module: Any, block: Block) -> Order:
    ups = [path for path in block.ups if _child(module, path) is not None]
    label = f"{name}.{block.down}"
    down = layer_at(module, block.down, label)
    uses = [Use(down, "weight", in_axis(down))]
    for path in ups:
        uses += _outputs(layer_at(module, path, f"{name}.{path}"))
    return make_order(label, "hidden", in_size(down), uses)


def _values(name: str, module: Any, attention: Attention, config: Any) -> Order:
    """Channels of value heads, with the columns of the output projection that read them."""
    heads, groups = _heads(config)
    label = f"{name}.{attention.out}"
    value = layer_at(module, attention.value, label)
    out = layer_at(module, attention.out, label)
    if in_size(out) % heads or groups < 1 or heads % groups:
        raise NmflowError(f"{in_size(out)} channels are no {heads} heads in {groups} groups")
    size = in_size(out) // heads * groups
    channels = np.arange(size)
    head = channels // (size // groups)
    # Query heads lie side by side that read the same value head.
    copies = heads // groups
    depth = size // groups
    read = np.stack([(head * copies + copy) * depth + channels % depth for copy in range(copies)])
    uses = [
        Use(out, "weight", in_axis(out), None if copies == 1 else read),
        *_outputs(value, _section(attention, value, 2, size)),
    ]
    return make_order(label, "values", size, uses, head)


def _queries(name: str, module: Any, attention: Attention, config: Any) -> Order:
    """Channels within heads, of queries and keys alike."""
    heads, groups = _heads(config)
    label = f"{name}.{attention.query} (queries)"
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise NmflowError(
            "keys have positions of their own, which have the order of their channels"
        )
    if heads != groups:
        raise NmflowError(f"{heads} query heads share {groups} key heads")
    query = layer_at(module, attention.query, label)
    key = layer_at(module, attention.key, label)
    size = out_size(query) // (3 if attention.query == attention.value else 1)
    uses = [
        *_outputs(query, _section(attention, query, 0, size)),
        *_outputs(key, _section(attention, key, 1, size)),
    ]
    kind: Kind = "queries"
    return make_order(label, kind, size, uses, np.arange(size) // (size // heads))


def _section(attention: Attention, layer: Any, number: int, size: int) -> Any:
    """Where the outputs lie among those of a layer that has queries, keys and values."""
    if attention.query != attention.value:
        return None
    if out_size(layer) != 3 * size:
        raise NmflowError(f"{out_size(layer)} outputs are no three times {size}")
    return np.arange(size)[None] + number * size


def _heads(config: Any) -> tuple[int, int]:
    heads = config.num_attention_heads
    return heads, getattr(config, "num_key_value_heads", None) or heads


def _outputs(layer: Any, places: Any = None) -> list[Use]:
    return [Use(layer, "weight", out_axis(layer), places), Use(layer, "bias", 0, places)]


def layer_at(module: Any, path: str, label: str) -> Any:
    """A linear layer of a module, by its path.

    Raises
    ------
    NmflowError
        If it is anything else, such as an adapter around one.
    """
    layer = _child(module, path)
    kinds = (nn.Linear,)
    if not (type(layer) in kinds or is_conv1d(layer)):
        raise NmflowError(
            f"{path} is a {type(layer).__name__}, and no linear layer that computes as nn.Linear"
            f" does: {label} stays in its order"
        )
    return layer


def is_conv1d(layer: Any) -> bool:
    """Whether it is transformers' linear layer that keeps (in, out)."""
    kind = type(layer)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


def in_axis(layer: Any) -> int:
    """The axis of inputs of a linear layer's weight."""
    return 0 if is_conv1d(layer) else 1


def out_axis(layer: Any) -> int:
    """The axis of outputs."""
    return 1 - in_axis(layer)


def in_size(layer: Any) -> int:
    """How many inputs a linear layer has."""
    return int(layer.weight.shape[in_axis(layer)])


def out_size(layer: Any) -> int:
    """How many outputs."""
    return int(layer.weight.shape[out_axis(layer)])


def _child(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = module._modules.get(part) if module is not None else None
    return module
