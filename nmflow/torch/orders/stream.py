"""The one order of the residual stream of a transformer, for all that reads and writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from nmflow.errors import NmflowError
from nmflow.torch.orders.families import (
    ADDED,
    BEFORE_CLASSIFIER,
    CLASSIFIER,
    LATER,
    READERS,
    TRANSFORMS,
    WRITERS,
    Block,
)
from nmflow.torch.orders.naming import in_axis, layer_at, out_axis
from nmflow.torch.orders.order import Order, Use, make_order


def stream_order(model: Any, blocks: Sequence[tuple[str, Any, Block]]) -> Order:
    """The order of the residual stream.

    Raises
    ------
    NmflowError
        If the model has a parameter of which it is not known whether it follows the stream.
    """
    width = model.config.get_text_config().hidden_size
    uses: list[Use] = []
    for name, module, block in blocks:
        uses += _in_block(name, module, block)
    inside = {id(child) for _, module, _ in blocks for child in module.modules()}
    names = {name for name, _ in model.named_modules()}
    classified = any(_ends(name, BEFORE_CLASSIFIER) for name in names)
    for name, module in model.named_modules():
        if id(module) not in inside:
            uses += _outside(name, module, width, classified)
    return make_order("residual stream", "stream", width, uses)


def _in_block(name: str, module: Any, block: Block) -> Iterator[Use]:
    known = []
    for attention in block.attentions:
        readers = dict.fromkeys((attention.query, attention.key, attention.value))
        yield from _reads(module, tuple(readers))
        yield from _writes(module, (attention.out,))
        known += [*readers, attention.out]
    ups = [path for path in block.ups if path in dict(module.named_modules())]
    yield from _reads(module, tuple(ups))
    yield from _writes(module, (block.down,))
    for path in block.norms:
        yield from _norm(module.get_submodule(path))
    known += [*ups, block.down, *block.norms]
    for path, _ in module.named_parameters():
        owner = path.rpartition(".")[0]
        if owner not in known and not _ends(owner, block.others):
            raise NmflowError(
                f"it is not known whether {name}.{path} follows the order of the residual stream"
            )


def _reads(module: Any, paths: Sequence[str]) -> Iterator[Use]:
    for path in paths:
        layer = layer_at(module, path, "the residual stream")
        yield Use(layer, "weight", in_axis(layer))


def _writes(module: Any, paths: Sequence[str]) -> Iterator[Use]:
    for path in paths:
        layer = layer_at(module, path, "the residual stream")
        yield Use(layer, "weight", out_axis(layer))
        yield Use(layer, "bias", 0)


def _norm(norm: Any) -> Iterator[Use]:
    yield Use(norm, "weight", 0)
    yield Use(norm, "bias", 0)


def _outside(name: str, module: Any, width: int, classified: bool) -> Iterator[Use]:
    """What follows the stream among the parameters that a module outside of blocks has itself."""
    own = {key: value for key, value in module._parameters.items() if value is not None}
    if isinstance(module, nn.Embedding) and module.embedding_dim == width:
        yield Use(module, "weight", 1)
    elif type(module).__name__.endswith("Norm") and own["weight"].shape == (width,):
        yield from _norm(module)
    elif _ends(name, READERS) or (_ends(name, (CLASSIFIER,)) and not classified):
        if isinstance(module, nn.Linear):
            yield Use(module, "weight", 1)
    elif _ends(name, TRANSFORMS):
        yield Use(module, "weight", 1)
        yield from _norm(module)
    elif _ends(name, WRITERS):
        yield from _norm(module)
    elif not (_ends(name, LATER) or _ends(name, (CLASSIFIER,))):
        for key, value in own.items():
            if key in ADDED and value.shape[-1] == width:
                yield Use(module, key, value.ndim - 1)
            elif not (key == "bias" and _ends(name, ("cls.predictions", "lm_head"))):
                raise NmflowError(
                    f"it is not known whether {name}.{key} follows the order of the residual stream"
                )


def _ends(name: str, ends: Sequence[str]) -> bool:
    """Whether a dotted name is one of these, or ends with one."""
    return any(name == end or name.endswith(f".{end}") for end in ends)
