"""How the tensors of a file are matrices, by their names, shapes and neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nmflow.models.layout import Layout
from nmflow.models.names import (
    Shapes,
    beside,
    by_plain_names,
    has_word,
    in_experts,
    is_convolution,
)
from nmflow.models.stacks import stack_layouts

MAX_DIMENSIONS = 5

_OUT_IN, _IN_OUT = Layout((0, 1)), Layout((1, 0))
# What GPT-2 calls its layers, which are transformers' Conv1D with weights (in, out) there and
# linear layers with weights (out, in) elsewhere.
_GPT2 = {"c_attn", "q_attn", "c_fc", "c_proj"}
_WIDENING = {"c_attn", "c_fc"}
_TRANSPOSED_WORDS = {"deconv", "upconv", "transpose", "transposed", "convtranspose", "convt"}
# 1 x 1 convolutions over sequences whose names don't say so.
_POINTWISE = {"qkv", "to_qkv", "to_out", "proj_in", "proj_out", "encoder_kv"}

# Flax's projections from a model's width to (heads, size of a head).
_TO_HEADS = {"query", "key", "value"}

_Shapes = Mapping[str, tuple[int, ...]]


def layouts_of(shapes: Shapes) -> dict[str, Layout | str]:
    """How each tensor is a batch of matrices (out, in).

    Parameters
    ----------
    shapes : mapping of str to shape
        Of all tensors: some are told by those beside them.

    Returns
    -------
    dict of str to Layout or str
        A str says why a tensor is none, or that its axes cannot be told.
    """
    return by_plain_names(shapes, _layouts_of)


def _layouts_of(shapes: _Shapes) -> dict[str, Layout | str]:
    known = stack_layouts(shapes) | _gpt2_layouts(shapes)
    return {name: known.get(name) or _layout(name, shapes) for name in shapes}


def _layout(name: str, shapes: _Shapes) -> Layout | str:
    shape = shapes[name]
    if len(shape) < 2:
        return "fewer than 2 dimensions"
    if 0 in shape:
        return "no entries"
    *path, kind = name.split(".")
    if len(shape) == 2:
        return _matrix_layout(kind, shape)
    if len(shape) > MAX_DIMENSIONS:
        return f"more than {MAX_DIMENSIONS} dimensions"
    if kind not in ("weight", "kernel"):
        return f"{len(shape)} dimensions, and no layer of which the layout is known"
    layout = _kernel_layout if kind == "kernel" else _convolution_layout
    return layout(name, path, shapes)


def _matrix_layout(kind: str, shape: tuple[int, ...]) -> Layout | str:
    if kind == "in_proj_weight":
        if shape[0] != 3 * shape[1]:
            return "in_proj_weight, but not of three square matrices"
        return Layout(groups=3)
    # Flax and Keras keep (in, out).
    return _IN_OUT if kind == "kernel" else _OUT_IN


def _convolution_layout(name: str, path: Sequence[str], shapes: _Shapes) -> Layout | str:
    """A weight (out, in, kernel...): of three dimensions only where a name says so."""
    shape = shapes[name]
    near = [part for part in path if not part.isdigit()][-3:]
    bias = shapes.get(beside(name, "bias"), ())
    if has_word(near[-2:], _TRANSPOSED_WORDS) or (bias == shape[1:2] and bias != shape[:1]):
        return "transposed convolution"
    if in_experts(path):
        return f"experts in {len(shape)} dimensions, of which the layout is not known"
    pointwise = shape[-1] == 1 and near[-1:] and near[-1] in _POINTWISE
    if len(shape) > 3 or is_convolution(near) or pointwise:
        return _OUT_IN
    return "3 dimensions, and no name says whether a convolution or a stack of matrices"


def _kernel_layout(name: str, path: Sequence[str], shapes: _Shapes) -> Layout | str:
    """Of three dimensions or more as Flax and Keras have it: (..., in, out).

    Kernel positions, layers that are scanned over and heads that are read from come in front. Heads
    that are written to come behind, as the bias says, or the name where there is none.
    """
    shape, near = shapes[name], [part for part in path if not part.isdigit()]
    if has_word(near[-2:], _TRANSPOSED_WORDS):
        return "transposed convolution"
    bias, outputs = shapes.get(beside(name, "bias"), ()), 1
    if len(bias) > 1 and bias == shape[-len(bias) :] and len(bias) < len(shape):
        outputs = len(bias)
    elif near[-1:] and near[-1] in _TO_HEADS:
        outputs = 2
    return Layout((len(shape) - 1, len(shape) - 1 - outputs))


def _gpt2_layouts(shapes: _Shapes) -> dict[str, Layout | str]:
    """Of :data:`_GPT2`, by the bias, else by the shape, else as most of the others are."""
    told: dict[str, Layout | None] = {}
    for name, shape in shapes.items():
        *path, kind = name.split(".")
        if kind == "weight" and path and path[-1] in _GPT2 and len(shape) == 2 and 0 not in shape:
            told[name] = _told_gpt2(name, path, shapes)
    counts = Counter(layout for layout in told.values() if layout is not None)
    # Without any sign it is as in GPT-2 itself.
    usual = counts.most_common(1)[0][0] if counts else _IN_OUT
    return {name: layout or usual for name, layout in told.items()}


def _told_gpt2(name: str, path: Sequence[str], shapes: _Shapes) -> Layout | None:
    rows, columns = shapes[name]
    if rows == columns:
        return None
    bias = shapes.get(beside(name, "bias"), ())
    if bias in ((rows,), (columns,)):
        return _OUT_IN if bias == (rows,) else _IN_OUT
    if path[-1] == "q_attn":
        return None
    widens = path[-1] in _WIDENING
    return _OUT_IN if (rows > columns) == widens else _IN_OUT
