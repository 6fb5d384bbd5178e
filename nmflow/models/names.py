"""Dotted names of tensors: what wrappers add to them, and the words they are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

# What DataParallel, torch.compile, FSDP, PEFT, Lightning, Flax and training scripts put in front.
_PREFIXES = (("base_model", "model"), ("module",), ("model",), ("params",), ("_forward_module",))
# What they put between.
_TRANSPARENT = {
    *("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
    *("base_layer", "original_module"),
}
Shape = Sequence[int]
Shapes = Mapping[str, Shape]

_Found = TypeVar("_Found")

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


def plain_parts(name: str) -> list[str]:
    """The components of a name without what wrappers add.

    >>> plain_parts("base_model.model.model.layers.0.q_proj.base_layer.weight")
    ['layers', '0', 'q_proj', 'weight']
    >>> plain_parts("_orig_mod.module.fc.parametrizations.weight.original")
    ['fc', 'weight']
    """
    parts = [part for part in name.split(".") if part not in _TRANSPARENT]
    if len(parts) > 2 and parts[-3] == "parametrizations" and parts[-1] == "original":
        parts[-3:] = [parts[-2]]
    if "modules_to_save" in parts[:-2]:
        # PEFT's trained copy of a module, under the adapter's name.
        at = parts.index("modules_to_save")
        del parts[at : at + 2]
    start = 0
    while prefix := _prefix(parts, start):
        start += len(prefix)
    return parts[start:]


def by_plain_names(
    shapes: Shapes, judge: Callable[[Mapping[str, tuple[int, ...]]], Mapping[str, _Found]]
) -> dict[str, _Found]:
    """What is found of tensors under their plain names, under the names that they have."""
    plain = {name: ".".join(plain_parts(name)) for name in shapes}
    found = judge({plain[name]: tuple(shape) for name, shape in shapes.items()})
    return {name: found[plain[name]] for name in shapes if plain[name] in found}


def _prefix(parts: Sequence[str], start: int) -> tuple[str, ...]:
    """The wrapper's prefix at a place, () if none; the last component is never one."""
    for prefix in _PREFIXES:
        stop = start + len(prefix)
        if stop < len(parts) and tuple(parts[start:stop]) == prefix:
            return prefix
    return ()


@lru_cache(maxsize=4096)
def words_of(component: str) -> tuple[str, ...]:
    """``LayerNorm`` -> layer, norm; ``lm_head`` -> lm, head; ``bn1`` -> bn."""
    return tuple(word.lower() for word in _WORD.findall(component))


def has_word(components: Iterable[str], words: Container[str]) -> bool:
    """Whether one of the components has one of the words."""
    return any(word in words for component in components for word in words_of(component))


def is_convolution(components: Iterable[str]) -> bool:
    """Whether one of the components says so: ``conv1``, ``dwconv``, ``convolution``."""
    return any(
        word in ("convolution", "convolutions") or word.endswith(("conv", "convs"))
        for component in components
        for word in words_of(component)
    )


def in_experts(components: Iterable[str]) -> bool:
    """Whether one of the components says so: ``experts``, ``expert_0``."""
    return has_word(components, ("expert", "experts"))


def beside(name: str, other: str) -> str:
    """The name of another tensor of the same module."""
    return f"{name.rpartition('.')[0]}.{other}".lstrip(".")
