"""Leaves of parameters by their paths, ``encoder/Dense_0/kernel``, whatever holds them."""

from __future__ import annotations

import sys
from typing import Any

import jax

Path = tuple[Any, ...]


def paths_of(tree: Any) -> tuple[list[str], list[Any], Any]:
    """The paths of all leaves, the leaves, and the structure that takes them back.

    Parameters
    ----------
    tree : pytree
        Dictionaries of Flax Linen, a state or a module of NNX, a module of Equinox, or any other.
    """
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    variables = _variables(tree)
    names = [_name(path[:-1] if path[:-1] in variables else path) for path, _ in found]
    return names, [leaf for _, leaf in found], structure


def _name(path: Path) -> str:
    return "/".join(map(part_of, path))


def part_of(key: Any) -> str:
    """What a key of a pytree's path is called."""
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _variables(tree: Any) -> set[Path]:
    """Where variables of NNX are, whose value is a leaf below them."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is None:
        return set()

    def is_variable(node: Any) -> bool:
        return isinstance(node, nnx.Variable)

    found = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_variable)[0]
    return {path for path, node in found if is_variable(node)}
