"""Why a tensor stays dense by default: what its name says it is.

Names are judged by whole words of their dotted components, so that
``multi_head_attention.query`` is no head and ``fc1`` is not ``fc``.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

from nmflow.models.heads import is_head
from nmflow.models.names import (
    Shapes,
    by_plain_names,
    has_word,
    in_experts,
    is_convolution,
    plain_parts,
    words_of,
)


class Role(StrEnum):
    """What a tensor is, if it is anything but the weights of a layer between others."""

    ADAPTER = "adapter"
    BIAS = "bias"
    RECURRENT = "recurrent"
    ROUTER = "router"
    POSITION = "position table"
    CONDITIONING = "conditioning"
    NORM = "norm"
    STEM = "stem"
    EMBEDDING = "embedding"
    HEAD = "head"
    UNNAMED = "not named weight"


# Last components that are weights of layers. Flax and Keras call them kernels.
_WEIGHT, _KERNEL = "weight", "kernel"
_PROJECTIONS = {"in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"}
_EXPERTS = {
    *("gate_up_proj", "gate_proj", "up_proj", "down_proj", "gate_up", "gate", "up", "down"),
    *("w1", "w2", "w3", "w13", "fc1", "fc2"),
}

_ADAPTER_WORDS = {
    *("adapter", "adapters", "hada", "lokr", "oft", "boft", "vera", "pvera", "ia", "hira"),
    *("shira", "hra", "fourierft", "waveft", "dora", "supertuning"),
}
_ADAPTER_NAMES = {
    *("prompt_encoder", "prompt_embeddings", "prefix_encoder", "prefix_tuning", "soft_prompt"),
    *("soft_embeds", "soft_embeddings", "trainable_tokens_delta", "adaption_prompt"),
}
_ROUTER_WORDS = {"router", "routers"}
_ROUTER_NAMES = {"shared_expert_gate", "shared_experts_gate", "expert_gate", "moe_gate"}
_GATED = {"mlp", "moe", "ffn", "forward", "feedforward"}
_POSITION_WORDS = {"pos", "position", "positions", "positional", "relative", "rel"}
_POSITION_NAMES = {"wpe", "position", "positions", "pe"}
_TABLE_WORDS = {"table", "bias", "encoding", "encodings"}
_NORM_WORDS = {"norm", "ln", "lnf", "bn", "gn"}
_LAYER_WORDS = {"conv", "convs", "linear", "proj", "projection", "fc", "dense", "mlp", "attn"}
_EMBEDDING_WORDS = {"embed", "embeds", "embedding", "embeddings", "embedder", "emb", "embd"}
_EMBEDDING_NAMES = {"wte", "shared", "token_type"}
_TOKEN_WORDS = {"token", "tokens", "latents", "query", "queries", "codebook", "codevectors"}
_TIME_WORDS = {"time", "timestep", "timesteps", "t", "sigma", "noise"}
_MODULATION_WORDS = {"modulation", "mod", "ada", "adaln", "film"}
_PATCH_WORDS = {"patch", "patches", "patchify"}
_STEM_NAMES = {"conv_in", "conv_stem"}
_RECURRENT = re.compile(r"(weight|bias)_(ih|hh|hr)(_l\d+(_reverse)?)?(_raw)?")
# Layers within a recurrent cell of Flax: of its inputs (i...) and of its state (h...).
_CELL = re.compile(r"(?:dense_)?([ih])[ifgornz]?_?")


def role_of(name: str) -> Role | None:
    """Why the tensor of a name stays dense by default.

    Parameters
    ----------
    name : str
        Dotted, with or without what wrappers add (``module.``, ``_orig_mod.``, PEFT's
        ``base_model.model.`` and the like).

    Returns
    -------
    Role or None
        None if the name is that of a layer's weights.
    """
    *path, kind = _as_weight(plain_parts(name))
    # A bare parameter's own name says what it is; so does the module's of a weight.
    parts = path if kind == _WEIGHT else [*path, kind]
    # An index in nn.Sequential names nothing.
    owners = [part for part in parts if not part.isdigit()] or [""]
    if any(map(_is_adapter, owners)):
        return Role.ADAPTER
    if kind != _WEIGHT and "bias" in words_of(kind) and "table" not in words_of(kind):
        return Role.BIAS
    if _RECURRENT.fullmatch(kind):
        return Role.RECURRENT
    if _is_router(owners):
        return Role.ROUTER
    return _role_of_owner(parts, owners, kind)


def _as_weight(parts: Sequence[str]) -> list[str]:
    """The components of a name, with a kernel as the weight that it is."""
    return [*parts[:-1], _WEIGHT if parts[-1] == _KERNEL else parts[-1]]


def _role_of_owner(parts: Sequence[str], owners: Sequence[str], kind: str) -> Role | None:
    """What the module, or a bare parameter, is by its own name and its parents'."""
    owner, parent, bare = owners[-1], owners[-2] if len(owners) > 1 else "", kind != _WEIGHT
    embeds = owner in _EMBEDDING_NAMES or has_word([owner, parent], _EMBEDDING_WORDS)
    layer = not bare or kind in _PROJECTIONS or (kind in _EXPERTS and in_experts(owners[:-1]))
    judged = {
        Role.NORM: _is_norm(owner) and not has_word([owner], _MODULATION_WORDS),
        Role.POSITION: _is_position(owner, parent),
        Role.CONDITIONING: _is_conditioning(owners[-3:]),
        Role.STEM: _is_stem(parts, owner, parent),
        Role.EMBEDDING: embeds or (bare and has_word([kind], _TOKEN_WORDS)),
        Role.HEAD: is_head(parts),
        Role.UNNAMED: not layer,
    }
    return next((role for role, holds in judged.items() if holds), None)


def _is_adapter(component: str) -> bool:
    words = words_of(component)
    return (
        component in _ADAPTER_NAMES
        or any(word.endswith("lora") for word in words)
        or not _ADAPTER_WORDS.isdisjoint(words)
    )


def _is_router(owners: Sequence[str]) -> bool:
    near = owners[-2:]
    if has_word(near, _ROUTER_WORDS) or owners[-1] in _ROUTER_NAMES or ".".join(near) == "gate.wg":
        return True
    return owners[-1] == "gate" and len(near) == 2 and has_word(near[:1], _GATED)


def _is_norm(component: str) -> bool:
    words = words_of(component)
    if not words or words[-1] in _LAYER_WORDS:
        return False
    return any(word in _NORM_WORDS or word.endswith("norm") for word in words)


def _is_position(owner: str, parent: str) -> bool:
    if owner in _POSITION_NAMES:
        return True
    tables = _TABLE_WORDS | _EMBEDDING_WORDS
    if has_word([owner], _POSITION_WORDS) and has_word([owner], tables):
        return True
    if has_word([owner], {"rel"}) and has_word([owner], {"pos", "h", "w"}):
        return True
    # A convolution that computes position embeddings; `pos_embed.proj` embeds patches.
    return has_word([parent], {"pos", "positional"}) and is_convolution([owner])


def _is_conditioning(near: Sequence[str]) -> bool:
    """A timestep's embedder, or what computes the scales and shifts of an adaptive norm."""
    if has_word(near, _MODULATION_WORDS) or near[-1] == "scale_shift_table":
        return True
    if any(
        has_word([part], _EMBEDDING_WORDS | {"mlp", "proj"}) and has_word([part], _TIME_WORDS)
        for part in near
    ):
        return True
    return len(near) > 1 and _is_norm(near[-2]) and not _is_norm(near[-1])


def _is_stem(parts: Sequence[str], owner: str, parent: str) -> bool:
    """The layer that reads the image or the sound."""
    if has_word([owner, parent], {"stem"}) or (parts and parts[0] in _STEM_NAMES):
        return True
    if has_word([owner, parent], _PATCH_WORDS) and has_word([owner, parent], _EMBEDDING_WORDS):
        return True
    projects = has_word([owner], {"proj", "projection"}) or is_convolution([owner])
    return projects and has_word([parent], _EMBEDDING_WORDS)


def roles_of(shapes: Shapes) -> dict[str, Role | None]:
    """:func:`role_of` of all tensors of a network, with what their neighbours say.

    Parameters
    ----------
    shapes : mapping of str to shape

    Returns
    -------
    dict of str to Role or None
    """
    return by_plain_names(shapes, _roles_of)


def _roles_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Role | None]:
    weights = {name: ".".join(_as_weight(name.split("."))) for name in shapes}
    roles = _roles_of_weights({weights[name]: shape for name, shape in shapes.items()})
    return {name: roles[weights[name]] for name in shapes}


def _roles_of_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Role | None]:
    roles = {name: role_of(name) for name in shapes}
    names = sorted(shapes)
    for name in names:
        *path, kind = name.split(".")
        if kind != _WEIGHT or not path:
            continue
        if path[-1] == "gate":
            roles[name] = _role_of_gate(name, roles[name], names, shapes)
        elif _is_numbered(path) and not _is_last(name, names, shapes):
            roles[name] = None
        elif _is_in_cell(path, names):
            roles[name] = Role.RECURRENT
    if Role.RECURRENT in roles.values():
        roles |= _ends_of_recurrent(shapes, roles)
    return roles


def _role_of_gate(
    name: str,
    role: Role | None,
    names: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
) -> Role | None:
    """``gate`` beside experts is a router; beside a layer of its own shape it gates that."""
    prefix = name.removesuffix("gate.weight")
    neighbours = _within(prefix, names)
    if any(in_experts([other[len(prefix) :].split(".")[0]]) for other in neighbours):
        return Role.ROUTER
    alike = (
        other != name and other[len(prefix) :].count(".") == 1 and shapes[other] == shapes[name]
        for other in neighbours
    )
    return None if role is Role.ROUTER and any(alike) else role


def _is_in_cell(path: Sequence[str], names: Sequence[str]) -> bool:
    """``hf`` beside ``if`` and the like: what a cell makes of its inputs and of its state."""
    if not _CELL.fullmatch(path[-1]):
        return False
    prefix = "".join(f"{part}." for part in path[:-1])
    found = (_CELL.fullmatch(name[len(prefix) :].split(".")[0]) for name in _within(prefix, names))
    return {match[1] for match in found if match} == {"i", "h"}


def _is_numbered(path: Sequence[str]) -> bool:
    """``classifier.0`` of VGG, an nn.Sequential of which only the last layer is the head."""
    return path[-1].isdigit() and len(path) in (2, 3) and path[-2] in ("classifier", "fc")


def _is_last(name: str, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether no later layer of the same nn.Sequential has a matrix."""
    *_, index, kind = name.split(".")
    prefix = name.removesuffix(f"{index}.{kind}")
    later = (
        other[len(prefix) :].split(".")[0]
        for other in _within(prefix, names)
        if len(shapes[other]) > 1
    )
    return not any(part.isdigit() and int(part) > int(index) for part in later)


def _within(prefix: str, names: Sequence[str]) -> Sequence[str]:
    """The names that begin so, of sorted ones."""
    first = bisect.bisect_left(names, prefix)
    return names[first : bisect.bisect_left(names, prefix + "\U0010ffff")]


def _ends_of_recurrent(
    shapes: Mapping[str, tuple[int, ...]], roles: Mapping[str, Role | None]
) -> dict[str, Role | None]:
    """The first and last layers around LSTMs, by any name where there is but one."""
    layers = [n for n, role in roles.items() if role is None and len(shapes[n]) == 2]
    ends: dict[str, Role | None] = dict.fromkeys(layers if len(layers) == 1 else (), Role.HEAD)
    for name in shapes:
        if len(shapes[name]) == 2 and name.count(".") <= 2:
            if name.endswith("decoder.weight"):
                ends[name] = Role.HEAD
            elif name.endswith("encoder.weight"):
                ends[name] = Role.EMBEDDING
    return ends
