"""What the classes of modules tell of their weights, where parameters lie in modules: Equinox."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import jax

from nmflow.jax.paths import part_of
from nmflow.models import Layout, Role

Told = Layout | Role | str


def told_by_classes(tree: Any) -> dict[str, Told]:
    """The layouts and roles of weights in modules of known classes, by their paths.

    Parameters
    ----------
    tree : pytree

    Returns
    -------
    dict of str to Layout, Role or str
        A str says why a weight is no matrix. Empty where no module of Equinox is in the tree.
    """
    equinox = sys.modules.get("equinox")
    if equinox is None:
        return {}
    kinds = equinox.nn
    known = (kinds.Linear, kinds.Conv, kinds.ConvTranspose, kinds.Embedding)
    found = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: isinstance(node, known))
    return {
        "/".join((*map(part_of, path), "weight")): told
        for path, node in found[0]
        for told in _told(node, kinds)
    }


def _told(module: Any, kinds: Any) -> Iterator[Told]:
    if isinstance(module, kinds.Embedding):
        yield Role.EMBEDDING
    elif isinstance(module, kinds.ConvTranspose):
        yield "transposed convolution"
    elif isinstance(module, kinds.Linear | kinds.Conv) and hasattr(module.weight, "shape"):
        # What vmap made of several modules has them in front.
        spatial = getattr(module, "num_spatial_dims", 0)
        in_axis = len(module.weight.shape) - 1 - spatial
        yield Layout((in_axis - 1, in_axis), getattr(module, "groups", 1))
