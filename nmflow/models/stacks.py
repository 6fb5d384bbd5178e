"""Experts of a mixture in one tensor of three dimensions: which axis is what.

Models disagree: [experts, out, in] here, [experts, in, out] there, under the same names. What
tells them apart are the shapes of the tensors beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nmflow.models.layout import Layout
from nmflow.models.names import Shapes, beside, by_plain_names, in_experts

_OUT_IN, _IN_OUT = Layout((1, 2)), Layout((2, 1))

# Granite and JetMoE: a module for all experts' linear layers, [experts, out, in].
_PARALLEL = {"input_linear", "output_linear"}
# The gate and up projections in one, twice as many outputs as the down projection has inputs.
_FUSED = {"gate_up_proj", "gate_up", "w13", "fc1"}
_UP = {*_FUSED, "gate_proj", "up_proj", "w1", "w3", "gate", "up"}
_DOWN = {"down_proj", "down", "w2", "fc2"}
_ROUTERS = ("gate", "router", "router.layer", "router.classifier", "gate.wg")

_Shapes = Mapping[str, tuple[int, ...]]


def stack_layouts(shapes: Shapes) -> dict[str, Layout | str]:
    """The layouts of stacks of experts.

    Parameters
    ----------
    shapes : mapping of str to shape
        Of all tensors of the network: those beside a stack tell its axes.

    Returns
    -------
    dict of str to Layout or str
        Of the tensors of three dimensions whose names say that they are experts; a str says
        that the axes cannot be told.
    """
    return by_plain_names(shapes, _stack_layouts)


def _stack_layouts(shapes: _Shapes) -> dict[str, Layout | str]:
    layouts: dict[str, Layout | str] = {}
    modules: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        *path, kind = name.split(".")
        # Kernels are (experts, in, out), whatever they are called.
        if len(shape) != 3 or kind == "kernel":
            continue
        owner = path[-1] if kind == "weight" and path else kind
        if owner in _PARALLEL:
            layouts[name] = _OUT_IN
        elif in_experts(path) and owner in _UP | _DOWN:
            modules.setdefault(_module_of(name), []).append(name)
        elif in_experts(path):
            layouts[name] = f"a stack of experts by an unknown name, {owner!r}"
    for module, names in modules.items():
        # All projections of a module are stored alike.
        told = {layout for name in names for layout in _evidence(name, module, shapes)}
        verdict = told.pop() if len(told) == 1 else None
        for name in names:
            layouts[name] = verdict or (
                "a stack of experts of which the shapes beside don't say whether it is"
                " [experts, out, in] or [experts, in, out]"
            )
    return layouts


def _split(name: str) -> tuple[str, str, str]:
    """The experts' module, the projection, and ``.weight`` where the name ends so."""
    ending = ".weight" if name.endswith(".weight") else ""
    module, _, owner = name.removesuffix(ending).rpartition(".")
    return module, owner, ending


def _module_of(name: str) -> str:
    return _split(name)[0]


def _evidence(name: str, module: str, shapes: _Shapes) -> Iterator[Layout]:
    """What the tensors beside say about the axes."""
    _, owner, ending = _split(name)
    experts, first, second = shapes[name]
    if owner in _FUSED:
        yield from _evidence_of_pair(module, ending, (experts, first, second), shapes)
    if first == second:
        return
    for bias in (f"{name}_bias", beside(name, "bias")):
        if shapes.get(bias) == (experts, first):
            yield _OUT_IN
        elif shapes.get(bias) == (experts, second):
            yield _IN_OUT
    hidden = _hidden_size(module, experts, shapes)
    if hidden in (first, second):
        # The hidden size is what goes in to begin with, and what comes out in the end.
        yield _OUT_IN if (hidden == second) == (owner in _UP) else _IN_OUT


def _evidence_of_pair(
    module: str, ending: str, up: tuple[int, int, int], shapes: _Shapes
) -> Iterator[Layout]:
    experts, first, second = up
    for owner in _DOWN:
        down = shapes.get(f"{module}.{owner}{ending}")
        if down == (experts, second, first // 2) and first % 2 == 0:
            yield _OUT_IN
        if down == (experts, second // 2, first) and second % 2 == 0:
            yield _IN_OUT


def _hidden_size(module: str, experts: int, shapes: _Shapes) -> int | None:
    """The router's number of inputs."""
    for router in _ROUTERS:
        shape = shapes.get(f"{beside(module, router)}.weight", ())
        if len(shape) == 2 and shape[0] == experts:
            return shape[1]
    return None
