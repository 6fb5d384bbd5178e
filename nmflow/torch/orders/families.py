"""Blocks of transformers that are known: what reads and writes what, by the names in them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attention:
    """The projections of an attention, by their names in the block.

    Attributes
    ----------
    query, key, value, out : str
        Three names alike: one layer whose outputs are queries, keys and values, one after the
        other.
    rotary : bool
        Whether queries and keys are turned by their positions, which ties each of their channels to
        its frequency.
    """

    query: str
    key: str
    value: str
    out: str
    rotary: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A transformer's block.

    Attributes
    ----------
    attentions : tuple of Attention
    ups : tuple of str
        Layers whose outputs, multiplied with each other or alone, are the hidden neurons.
    down : str
        What reads these.
    norms : tuple of str
        Of the stream.
    others : tuple of str
        Ends of names of what has nothing to do with any order.
    """

    attentions: tuple[Attention, ...]
    ups: tuple[str, ...]
    down: str
    norms: tuple[str, ...]
    others: tuple[str, ...] = ()


_BERT = Block(
    (
        Attention(
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ),
    ),
    ("intermediate.dense",),
    "output.dense",
    ("attention.output.LayerNorm", "output.LayerNorm"),
)
_DISTILBERT = Block(
    (Attention("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),),
    ("ffn.lin1",),
    "ffn.lin2",
    ("sa_layer_norm", "output_layer_norm"),
)
_GPT2 = Block(
    (Attention("attn.c_attn", "attn.c_attn", "attn.c_attn", "attn.c_proj"),),
    ("mlp.c_fc",),
    "mlp.c_proj",
    ("ln_1", "ln_2"),
)
_LLAMA = Block(
    (
        Attention(
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            rotary=True,
        ),
    ),
    ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj",
    ("input_layernorm", "post_attention_layernorm"),
    ("self_attn.q_norm", "self_attn.k_norm"),
)
_GEMMA2 = Block(
    _LLAMA.attentions,
    _LLAMA.ups,
    _LLAMA.down,
    (*_LLAMA.norms, "pre_feedforward_layernorm", "post_feedforward_layernorm"),
    _LLAMA.others,
)
_VIT = Block(
    (Attention("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"),),
    ("mlp.fc1",),
    "mlp.fc2",
    ("layernorm_before", "layernorm_after"),
)


def _t5(decoder: bool) -> Block:
    kinds = ("SelfAttention", "EncDecAttention") if decoder else ("SelfAttention",)
    paths = [f"layer.{number}.{kind}" for number, kind in enumerate(kinds)]
    mlp = f"layer.{len(kinds)}"
    return Block(
        tuple(Attention(f"{p}.q", f"{p}.k", f"{p}.v", f"{p}.o") for p in paths),
        (f"{mlp}.DenseReluDense.wi", f"{mlp}.DenseReluDense.wi_0", f"{mlp}.DenseReluDense.wi_1"),
        f"{mlp}.DenseReluDense.wo",
        tuple(f"layer.{number}.layer_norm" for number in range(len(kinds) + 1)),
        ("relative_attention_bias",),
    )


# By the names of the blocks' classes; several where a class has more than one form, of which the
# first counts whose layers are there.
BLOCKS: dict[str, tuple[Block, ...]] = {
    **dict.fromkeys(("BertLayer", "RobertaLayer", "XLMRobertaLayer", "ElectraLayer"), (_BERT,)),
    "TransformerBlock": (_DISTILBERT,),
    "GPT2Block": (_GPT2,),
    **dict.fromkeys(
        (
            *("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer"),
            *("Qwen3DecoderLayer", "GemmaDecoderLayer"),
        ),
        (_LLAMA,),
    ),
    "Gemma2DecoderLayer": (_GEMMA2,),
    "ViTLayer": (_VIT,),
    "T5Block": (_t5(decoder=True), _t5(decoder=False)),
}
"""What is known."""

# Outside of blocks, by the ends of names: what reads the stream and writes nothing that returns to
# it ...
READERS = (
    *("lm_head", "score", "pre_classifier", "qa_outputs", "pooler.dense", "classifier.dense"),
    *("cls.predictions.decoder", "vocab_projector", "lm_head.decoder"),
)
# ... what reads and writes it: what comes after is read by a layer that may share its weights
# with the embedding, so that it has the stream's order, too ...
TRANSFORMS = ("cls.predictions.transform.dense", "vocab_transform", "lm_head.dense")
# ... what writes it ...
WRITERS = ("patch_embeddings.projection",)
# ... what is added to it, of the stream's width along the last axis ...
ADDED = ("cls_token", "mask_token", "position_embeddings")
# ... what reads what one of the readers has made of it ...
LATER = ("classifier.out_proj", "cls.seq_relationship")
# ... and what reads the stream unless one of these stands between.
CLASSIFIER, BEFORE_CLASSIFIER = "classifier", ("pooler.dense", "pre_classifier")
