"""The table in words, for the command line's help."""

from __future__ import annotations

import textwrap

from nmflow.models.roles import Role

_MEANS = {
    Role.EMBEDDING: "embed, embedding, emb, wte, shared; learned tokens and codebooks",
    Role.POSITION: "wpe, pos_embed, relative_attention_bias and the like",
    Role.HEAD: (
        "lm_head, classifier, pooler, logits, predictions, head and the like (not the heads of an"
        " attention, not conv_head); fc, score, cls, output, decoder, proj_out at the top; of a"
        " numbered classifier the last layer"
    ),
    Role.ROUTER: "router, shared_expert_gate, and gate of a mixture of experts",
    Role.NORM: "norm, layernorm, ln, bn",
    Role.CONDITIONING: "timestep embedders, modulation, the linear layer of an adaptive norm",
    Role.STEM: "patch embeddings, conv_in, stem",
    Role.ADAPTER: "LoRA, LoHa, LoKr, IA3, prompts, modules named adapter",
    Role.RECURRENT: "weight_ih and weight_hh of LSTM, GRU and RNN layers; hf beside if",
    Role.BIAS: "biases, of any shape",
    Role.UNNAMED: "whatever else is not called weight or kernel",
}

_HEAD = """\
Which tensors are pruned by default: those of dtype F16, BF16, F32 or F64 that are matrices of at
least m outputs and m inputs, and whose names do not say that they should stay dense.
  2 dimensions    a linear layer, (out, in). GPT-2's c_attn, c_fc, c_proj, q_attn are (in, out)
                  or (out, in), as bias, shape and neighbours say. in_proj_weight: three matrices.
  3 dimensions    a convolution where the name says conv; experts [experts, out, in] or
                  [experts, in, out] where names and shapes beside tell which. All else is left.
  4, 5            a convolution (out, in, kernel...); transposed ones are left.
A kernel (Flax, Keras) is (in, out), or (..., in, out), with an attention's heads behind where it
projects to them.
All other axes are batch: one mask for each kernel position, or expert. Left dense, by name
(without module., _orig_mod., model., base_model.model. in front):"""

_TAIL = """\
--include GLOB replaces the choice by name: exactly the floating tensors that match and are known
to be matrices are pruned, heads too. --exclude GLOB removes from either. Both may be given more
than once."""


def _line(role: Role) -> str:
    return textwrap.fill(
        _MEANS[role],
        width=100,
        initial_indent=f"  {role.value:18}",
        subsequent_indent=" " * 20,
        break_long_words=False,
    )


RULE = "\n".join([_HEAD, *map(_line, _MEANS), _TAIL])
"""The rule that ``nmflow prune --help`` prints."""
