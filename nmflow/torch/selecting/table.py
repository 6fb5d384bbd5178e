"""What the table of :mod:`nmflow.models`, and classes, say of a live model's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from nmflow.models import Layout, Role, roles_of, stack_layouts
from nmflow.torch.selecting.layout import Layouts, as_layouts, layouts_of, resolve
from nmflow.torch.selecting.sites import Site

_TABLES = (nn.Embedding, nn.EmbeddingBag)


class Table:
    """Layouts and roles of a model's parameters.

    Classes know best; names serve where no class tells, as for stacked experts.
    """

    def __init__(self, model: Any, sites: Sequence[Site], layouts: Layouts) -> None:
        shapes = {site.name: site.shape for site in sites}
        self._roles, self._stacks = roles_of(shapes), stack_layouts(shapes)
        self._given = as_layouts(layouts)
        self._heads = set(_output_embeddings(model))
        self._embeddings: dict[tuple[Any, ...], str] = {}
        for site in sites:
            if isinstance(site.module, _TABLES):
                self._embeddings.setdefault(_memory(site), site.name)
        self._offloading = {name for name, module in model.named_modules() if _offloads(module)}

    def layout(self, site: Site) -> Layout | str:
        """How a parameter is matrices; a str says why it is none."""
        found: Layout | str | None = layouts_of(site.module, self._given).get(site.tensor)
        if isinstance(found, Layout):
            return resolve(found, site.shape, site.name) if site.shape else found
        found = self._stacks.get(site.name)
        if found is None:
            found = f"no matrix of a linear, convolution or attention layer ({site.kind})"
        if isinstance(found, str) and not type(site.module).__module__.startswith("torch.nn."):
            found += "; layouts= can say how it is one"
        return found

    def fault(self, site: Site) -> str | None:
        """Why a parameter is no matrix; None if it is one."""
        layout = self.layout(site)
        return layout if isinstance(layout, str) else None

    def chief(self, group: Sequence[Site]) -> Site:
        """Of the places of a parameter the one that says most: a layer's before a table's."""
        known = [site for site in group if isinstance(self.layout(site), Layout)]
        layers = (site for site in known if not isinstance(site.module, _TABLES))
        return next(layers, (known or group)[0])

    def role(self, group: Sequence[Site]) -> str | None:
        """Why a parameter stays dense by default, None if it doesn't."""
        # A class or the table of stacks knows better than an unusual name.
        names = (self._roles[site.name] for site in group)
        said = [role for role in names if role not in (None, Role.UNNAMED)]
        embedding = self._embeddings.get(_memory(group[0]))
        if embedding is not None and Role.POSITION not in said:
            if all(isinstance(site.module, _TABLES) for site in group):
                return Role.EMBEDDING
            return f"tied to the embedding {embedding}"
        if any(site.module in self._heads for site in group):
            return Role.HEAD
        return said[0] if said else None

    def is_offloaded(self, site: Site) -> bool:
        """Whether accelerate's hooks keep the values elsewhere between forward passes."""
        if not site.parameter.is_meta:
            return False
        parts = site.module_name.split(".")
        above = {".".join(parts[:depth]) for depth in range(len(parts) + 1)}
        return not self._offloading.isdisjoint(above)


def _output_embeddings(model: Any) -> Iterator[Any]:
    """What Hugging Face's models say of themselves, the model's parts included."""
    for module in model.modules():
        ask = getattr(module, "get_output_embeddings", None)
        if ask is None:
            continue
        try:
            head = ask()
        except (AttributeError, NotImplementedError):
            continue
        if isinstance(head, nn.Module):
            yield head


def _memory(site: Site) -> tuple[Any, ...]:
    """Equal for parameters that are the same, or that look at the same memory."""
    if not site.shape:
        return (id(site.parameter),)
    parameter = site.parameter
    try:
        return parameter.untyped_storage()._cdata, parameter.storage_offset()
    except (NotImplementedError, RuntimeError):
        # Subclasses of Tensor that hold others have no memory of their own.
        return (id(parameter),)


def _offloads(module: Any) -> bool:
    hook = getattr(module, "_hf_hook", None)
    return any(getattr(each, "offload", False) for each in (hook, *getattr(hook, "hooks", ())))
