"""Which tensors of a checkpoint are pruned: the layer rule, and globs that override it.

The rule reads names, dtypes and shapes only. Names are judged by whole words of their dotted
components, so that ``multi_head_attention.query`` is no head and ``fc1`` is not ``fc``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from nmflow.checkpoint.safetensors_file import FLOATING, Tensor
from nmflow.errors import NmflowError

RULE = """\
Which tensors are pruned by default: those of dtype F16, BF16, F32 or F64 whose name is "weight"
or ends in ".weight", with 2 to 5 dimensions, both of whose first two dimensions are at least m.
A 2-D tensor is a linear layer; 3-D to 5-D ones are convolutions (out, in, kernel...), tiled over
(out, in) for each kernel position. Left as they are, by name:
  embeddings  the module's name has a word like embed, embedding, embeddings, emb, wte, wpe
  norms       ... like norm, layernorm, ln, bn
  heads       lm_head, classifier, pooler, logits, predictions, head and the like (not the heads
              of an attention); and fc, score, cls, output, decoder, proj_out at the model's top
  biases      and whatever else is not named weight
--include GLOB replaces the rule: exactly the floating tensors of >= 2 dimensions that match are
pruned, heads too. --exclude GLOB removes from either. Both may be given more than once."""

# Every layer is tiled over (out, in); Conv1D of GPT-2 stores (in, out), which for transposable
# masks is the same.
TILE_AXES = (0, 1)
MAX_DIMENSIONS = 5

_NORM_WORDS = {"norm", "ln", "lnf", "bn", "gn"}
_EMBEDDING_WORDS = {"embed", "embeds", "embedding", "embeddings", "embedder", "emb", "embd"}
_EMBEDDING_NAMES = {
    *("wte", "wpe", "shared", "position", "positions", "token_type"),
    "relative_attention_bias",  # T5: a table of one bias per distance and head
}
_HEAD_WORDS = {"head", "heads", "classifier", "classifiers", "pooler", "logits", "predictions"}
_HEAD_NAMES = {"qa_outputs", "vocab_transform", "vocab_projector", "seq_relationship"}
# Heads only near the top of the model: elsewhere the same names are ordinary layers.
_TOP_HEAD_OWNERS = {"fc", "score", "output", "decoder", "proj_out", "last_linear"}
_TOP_HEAD_PARENTS = {"cls"}
_ATTENTION_WORDS = {"attn", "attention", "attentions", "mha", "multi", "multihead", "sa"}
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tensor that is left as it is.

    Attributes
    ----------
    name, reason : str
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What is pruned and what is not, both in the order of the file.

    Attributes
    ----------
    layers : tuple of Tensor
    skipped : tuple of Skipped
    """

    layers: tuple[Tensor, ...]
    skipped: tuple[Skipped, ...]


def choose_layers(
    tensors: Sequence[Tensor],
    m: int,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Selection:
    """Split the tensors of a checkpoint into layers to prune and the rest.

    Parameters
    ----------
    tensors : sequence of Tensor
    m : int
        By default a layer with fewer than m outputs or inputs is left.
    include : sequence of str
        Globs over tensor names that replace the default rule, if there are any.
    exclude : sequence of str
        Globs over the names of tensors to leave, whatever else says they are pruned.

    Raises
    ------
    NmflowError
        If a glob matches no tensor (or ``include`` none that can be pruned), or no layer is left.
    """
    for option, globs in (("include", include), ("exclude", exclude)):
        for glob in globs:
            _check_glob(option, glob, tensors)
    layers, skipped = [], []
    for tensor in tensors:
        reason = _reason_to_skip(tensor, m, include, exclude)
        if reason is None:
            layers.append(tensor)
        else:
            skipped.append(Skipped(tensor.name, reason))
    if not layers:
        raise NmflowError(_nothing_left(skipped))
    return Selection(tuple(layers), tuple(skipped))


def _reason_to_skip(
    tensor: Tensor, m: int, include: Sequence[str], exclude: Sequence[str]
) -> str | None:
    """Why the tensor is left as it is; None if it is pruned."""
    if matches(tensor.name, exclude):
        return "excluded"
    if include and not matches(tensor.name, include):
        return "not included"
    if include:
        return _cannot_prune(tensor)
    return _reason_of_rule(tensor, m)


def _reason_of_rule(tensor: Tensor, m: int) -> str | None:
    """Why the default rule leaves a tensor; the name's reason first, as it says most."""
    reason = _role(tensor.name) if tensor.dtype in FLOATING else None
    reason = reason or _cannot_prune(tensor)
    if reason is None and len(tensor.shape) > MAX_DIMENSIONS:
        reason = f"more than {MAX_DIMENSIONS} dimensions"
    if reason is None and min(tensor.shape[:2]) < m:
        reason = f"fewer than m = {m} outputs or inputs"
    return reason


def _cannot_prune(tensor: Tensor) -> str | None:
    """Why not even ``include`` makes a layer of the tensor; None if it can be one."""
    if tensor.dtype not in FLOATING:
        return f"dtype {tensor.dtype}"
    if len(tensor.shape) < 2:
        return "fewer than 2 dimensions"
    return None


def _role(name: str) -> str | None:
    """What the name says the tensor is, if that is anything but a layer's weights."""
    *path, kind = name.split(".")
    if kind != "weight":
        return "bias" if kind.split("_")[-1] == "bias" else "not named weight"
    # The owner is the module that the weight belongs to; an index in nn.Sequential names nothing.
    owner = next((part for part in reversed(path) if not part.isdigit()), "")
    words = _words(owner)
    if any(word in _NORM_WORDS or word.endswith("norm") for word in words):
        return "norm"
    if owner in _EMBEDDING_NAMES or not _EMBEDDING_WORDS.isdisjoint(words):
        return "embedding"
    if any(_is_head(path, i) for i in range(len(path))):
        return "head"
    return None


def _is_head(path: Sequence[str], i: int) -> bool:
    """Whether component i of a module's path says that it is, or is within, a model's head."""
    name, words = path[i], _words(path[i])
    if name in _HEAD_NAMES:
        return True
    in_block = any(part.isdigit() for part in path[:i])
    if i <= 1 and not in_block:
        is_owner = all(part.isdigit() for part in path[i + 1 :])
        if name in _TOP_HEAD_PARENTS or (name in _TOP_HEAD_OWNERS and is_owner):
            return True
    if not words or words[-1] not in _HEAD_WORDS:
        return False
    if words[-1] not in ("head", "heads"):
        return True
    # blocks.0.attention.head and blocks.0.heads.3 are heads of an attention.
    if words[-1] == "heads" and in_block:
        return False
    return not any(_ATTENTION_WORDS.intersection(_words(part)) for part in path[: i + 1])


def _words(component: str) -> list[str]:
    """``LayerNorm`` -> layer, norm; ``lm_head`` -> lm, head; ``bn1`` -> bn."""
    return [word.lower() for word in _WORD.findall(component)]


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether the name equals one of the globs or matches it, case-sensitively."""
    return any(name == glob or fnmatchcase(name, glob) for glob in globs)


def _check_glob(option: str, glob: str, tensors: Sequence[Tensor]) -> None:
    matched = [tensor for tensor in tensors if matches(tensor.name, (glob,))]
    if not matched:
        near = _near_names(glob, [tensor.name for tensor in tensors])
        raise NmflowError(f"{option} {glob!r} matches no tensor; {near}")
    if option == "include" and all(_cannot_prune(tensor) for tensor in matched):
        first = matched[0]
        raise NmflowError(
            f"include {glob!r} matches no tensor that can be pruned: {first.name!r} is"
            f" {first.dtype} of shape {first.shape}, and a layer is one of {', '.join(FLOATING)}"
            " with 2 dimensions or more"
        )


def _near_names(glob: str, names: Sequence[str]) -> str:
    """A hint: the names that have a stretch of components most like the glob."""
    literal = re.sub(r"[*?\[\]]", "", glob).strip(".")
    length = literal.count(".") + 1
    stretches: dict[str, str] = {}
    for name in names:
        parts = name.split(".")
        for i in range(max(1, len(parts) - length + 1)):
            stretches.setdefault(".".join(parts[i : i + length]), name)
    near = difflib.get_close_matches(literal, stretches, n=3, cutoff=0.5)
    if near:
        return "near: " + ", ".join(dict.fromkeys(repr(stretches[key]) for key in near))
    listed = ", ".join(map(repr, names[:3]))
    return f"the file has {listed}{', ...' if len(names) > 3 else ''}"


def _nothing_left(skipped: Sequence[Skipped]) -> str:
    counts: dict[str, int] = {}
    for one in skipped:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    listed = ", ".join(f"{reason} ({count})" for reason, count in counts.items())
    return f"no layer to prune among {len(skipped)} tensors: {listed}; choose with include"
