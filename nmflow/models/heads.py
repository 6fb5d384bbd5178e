"""The names of a network's last layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nmflow.models.names import has_word, is_convolution, words_of

_WORDS = {"head", "heads", "classifier", "classifiers", "pooler", "logits", "predictions"}
_NAMES = {
    *("qa_outputs", "vocab_transform", "vocab_projector", "seq_relationship", "lm_loss"),
    *("logits_proj", "output_projection", "text_projection", "visual_projection", "unembed"),
}
# Heads only near the top of the network: elsewhere the same names are ordinary layers.
_TOP_OWNERS = {
    *("fc", "score", "output", "decoder", "last_linear", "generator", "output_layer"),
    *("proj_out", "proj_out_1", "proj_out_2", "conv_out"),
}
_TOP_PARENTS = {"cls", "final_layer"}
_BLOCK_WORDS = {"mlp", "ffn", "ff", "block", "se"}
# ``layers.0`` of PyTorch, ``layers_0`` of Flax.
_NUMBERED = re.compile(r"(?:\w+_)?\d+")
_ATTENTION_WORDS = {"attn", "attention", "attentions", "mha", "multi", "multihead", "sa"}


def is_head(path: Sequence[str]) -> bool:
    """Whether a module's path, its components, says that it is, or is within, a head."""
    in_block = in_attention = False
    for i, name in enumerate(path):
        in_attention = in_attention or has_word([name], _ATTENTION_WORDS)
        if _is_named_head(name, in_block, in_attention):
            return True
        at_top = i <= 1 and not (in_block or in_attention)
        if at_top and not has_word(path[:i], _BLOCK_WORDS) and _is_top_head(name, path[i + 1 :]):
            return True
        in_block = in_block or _NUMBERED.fullmatch(name) is not None
    return False


def _is_top_head(name: str, below: Sequence[str]) -> bool:
    return name in _TOP_PARENTS or (name in _TOP_OWNERS and all(map(str.isdigit, below)))


def _is_named_head(name: str, in_block: bool, in_attention: bool) -> bool:
    if name in _NAMES:
        return True
    *_, word = words_of(name) or ("",)
    if word not in _WORDS:
        return False
    if word not in ("head", "heads"):
        return True
    # blocks.0.attention.head and blocks.0.heads.3 are heads of an attention, and conv_head is
    # the convolution before a head.
    return not (in_attention or (word == "heads" and in_block) or is_convolution([name]))
